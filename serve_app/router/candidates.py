"""The candidates that a Router knows: which records they get, and what is observed of them.

A candidate is only ever waited for over a record of its canary, and not for long.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, NamedTuple

from schemas.failures import ErrorCode
from schemas.manifest import ManifestRecord
from schemas.requests import ClipRequest
from schemas.rollout import RolloutPlan
from serve_app.audio.clip import SAMPLE_RATE, Clip
from serve_app.engines.base import Hypothesis
from serve_app.model.protocol import Model, ModelError, Outcome, Reply
from serve_app.rollout.arms import Arm, arm_of, block_of
from serve_app.rollout.evidence import Heard, Observation

logger = logging.getLogger(__name__)

#: Audio that waits for candidates, over all of them; more is not compared.
MAX_SHADOW_BYTES = 64 << 20
#: Seconds that a canary rests after a call without an answer; the shadow goes on.
REST_S = 10.0
#: Observations that are kept while the judge does not answer.
_KEPT = 10_000
#: Longest wait for the judge.
_JUDGE_S = 10.0

#: Takes observations to the judge of a rollout.
Report = Callable[[list[Observation]], Awaitable[None]]
#: Writes the text of a model, by name, as its text rules say.
Write = Callable[[str, str], str]


class Asked(NamedTuple):
    """A clip that a model was asked for."""

    record: ManifestRecord
    clip: Clip
    request: ClipRequest


class Candidate:
    """A version that is compared with the one that serves. A `Model`.

    Args:
        plan: of the rollout.
        model: the version.
        report: takes what is observed.
    """

    def __init__(self, plan: RolloutPlan, model: Model, report: Report) -> None:
        self.plan = plan
        self._model = model
        self._report = report
        self._rests_until = 0.0
        self._outage = ""
        self._observed: list[Observation] = []

    async def transcribe(
        self, clips: Sequence[Clip], sample_rate: int, requests: Sequence[ClipRequest] = ()
    ) -> Reply:
        """See `Model.transcribe`."""
        try:
            reply = await self._model.transcribe(clips, sample_rate, requests)
        except ModelError:
            if not self.rests:
                self._outage = secrets.token_hex(8)
            self._rests_until = time.monotonic() + REST_S
            raise
        self._rests_until = 0.0
        return reply

    def arm(self, record: ManifestRecord) -> Arm:
        """What the rollout does with a record."""
        return arm_of(self.plan, block_of(record, self.plan.rules.block_by))

    @property
    def rests(self) -> bool:
        """Whether it is not to be waited for, since it had no answer a moment ago."""
        return time.monotonic() < self._rests_until

    @property
    def outage(self) -> str:
        """Names the calls that failed together, since it was resting when all but the first did."""
        return self._outage

    def observe(
        self, record: ManifestRecord, *, incumbent: Heard | None, candidate: Heard | None
    ) -> None:
        """Note what was made of a record, for the next `report`."""
        self._observed.append(
            Observation(
                # channels of a recording are observed apart
                record=record.id if record.channel is None else f"{record.id}#{record.channel}",
                block=block_of(record, self.plan.rules.block_by),
                reference=record.text,
                lang=record.lang,
                incumbent=incumbent,
                candidate=candidate,
            )
        )
        del self._observed[:-_KEPT]

    async def report(self) -> None:
        """Tell the judge what was observed; what it does not take is told the next time."""
        if not self._observed:
            return
        observed, self._observed = self._observed, []
        try:
            async with asyncio.timeout(_JUDGE_S):
                await self._report(observed)
        except Exception as error:  # whatever Ray raises; the judge may be starting again
            logger.info("rollout %s: its judge did not answer: %s", self.plan.id, error)
            self._observed = [*observed, *self._observed][-_KEPT:]


class Candidates:
    """The candidates of an application, by the names of the models that they may replace.

    Args:
        write: writes texts as they are published, which is how they are compared.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self._known: dict[str, Candidate] = {}
        self._shadows: set[asyncio.Task[None]] = set()
        self._shadow_bytes = 0

    def update(
        self,
        plans: Mapping[str, RolloutPlan],
        connect: Callable[[RolloutPlan], tuple[Model, Report]],
    ) -> None:
        """Know the candidates of these rollouts and no others.

        Args:
            plans: of the rollouts under way, by model.
            connect: the candidate of a rollout, and the way to its judge.
        """
        for model in self._known.keys() - plans.keys():
            del self._known[model]
        for model, plan in plans.items():
            known = self._known.get(model)
            if known is None or known.plan != plan:
                self._known[model] = Candidate(plan, *connect(plan))

    async def report(self) -> None:
        """Tell the judges what was observed since the last time."""
        await asyncio.gather(*(each.report() for each in list(self._known.values())))

    def arm(self, model: str, record: ManifestRecord) -> tuple[Candidate | None, Arm]:
        """The candidate of a model, and what its rollout does with a record now."""
        candidate = self._known.get(model)
        if candidate is None or candidate.rests:
            return candidate, Arm.NONE
        return candidate, candidate.arm(record)

    def failed(
        self, model: str, asked: Sequence[Asked], code: ErrorCode, *, of: Candidate | None
    ) -> None:
        """Note that a call had no answer.

        Args:
            model: name of the model.
            asked: what it was asked.
            code: why.
            of: the candidate that was called; None for the version that serves.
        """
        heard = _no_answer(code, of)
        self._observe(model, asked, [heard] * len(asked), of)

    def answered(
        self,
        model: str,
        asked: Sequence[Asked],
        outcomes: Sequence[Outcome],
        *,
        of: Candidate | None,
    ) -> None:
        """Note the answers to a call, and ask the candidate for what it shadows.

        Args:
            model: name of the model.
            asked: what it was asked.
            outcomes: what it answered.
            of: the candidate that was called; None for the version that serves.
        """
        if of is None and model not in self._known:
            return
        heard = self._heard(model, asked, outcomes)
        self._observe(model, asked, heard, of)

    def _observe(
        self, model: str, asked: Sequence[Asked], heard: Sequence[Heard], of: Candidate | None
    ) -> None:
        if of is not None:
            for each, made in zip(asked, heard, strict=True):
                of.observe(each.record, incumbent=None, candidate=made)
            return
        candidate = self._known.get(model)
        if candidate is None:
            return
        shadowed: list[tuple[Asked, Heard]] = []
        for each, made in zip(asked, heard, strict=True):
            arm = candidate.arm(each.record)
            if arm is Arm.SHADOW and self._shadow_bytes < MAX_SHADOW_BYTES:
                shadowed.append((each, made))
                self._shadow_bytes += each.clip.nbytes
            elif arm is Arm.CONTROL:
                candidate.observe(each.record, incumbent=made, candidate=None)
        if shadowed:
            self._start(self._shadow(model, candidate, shadowed))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._shadows.add(task)  # a task that nothing refers to may be collected
        task.add_done_callback(self._shadows.discard)

    async def _shadow(
        self, model: str, candidate: Candidate, asked: Sequence[tuple[Asked, Heard]]
    ) -> None:
        """Have the candidate transcribe what the incumbent has, and note both."""
        requests = [each.request for each, _ in asked]
        clips = [each.clip for each, _ in asked]
        try:
            reply = await candidate.transcribe(clips, SAMPLE_RATE, requests)
            heard = self._heard(model, [each for each, _ in asked], reply.outcomes)
        except ModelError as error:
            heard = [_no_answer(error.code, candidate)] * len(asked)
        finally:
            self._shadow_bytes -= sum(clip.nbytes for clip in clips)
        for (each, incumbent), made in zip(asked, heard, strict=True):
            candidate.observe(each.record, incumbent=incumbent, candidate=made)

    def _heard(
        self, model: str, asked: Sequence[Asked], outcomes: Sequence[Outcome]
    ) -> list[Heard]:
        return [
            self._heard_of(model, each.request, outcome)
            for each, outcome in zip(asked, outcomes, strict=True)
        ]

    def _heard_of(self, model: str, request: ClipRequest, outcome: Outcome) -> Heard:
        result = outcome.result
        if not isinstance(result, Hypothesis):
            return Heard(text=None, failure=result.code.value)
        return Heard(
            text=self._write(model, result.text),
            seconds=(outcome.queue_ms + outcome.model_ms) / 1000 if request.interactive else None,
            confidence=result.confidence,
        )


def _no_answer(code: ErrorCode, candidate: Candidate | None) -> Heard:
    """What is heard of every clip of a call without an answer."""
    return Heard(text=None, failure=code.value, outage=candidate.outage if candidate else "")
