"""Call the models with the clips of a list: those for one model together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from msgspec.structs import replace

from schemas.requests import ClipRequest
from serve_app.audio.clip import SAMPLE_RATE
from serve_app.engines.base import Hypothesis
from serve_app.model.protocol import ModelError, Outcome, Reply
from serve_app.rollout.arms import Arm
from serve_app.router.candidates import Asked, Candidate
from serve_app.router.state import ActiveRecord, RouterState
from serve_app.routing.plans import Answer, Failure, Query
from serve_app.telemetry.tracing import fail, traceparent

#: Batches of audio in one call of a busy model. A call costs CPU on both sides whatever its size,
#: so only an idle model is sent a single batch at once.
BUSY_MODEL_BATCHES = 16


class Callee(NamedTuple):
    """Whom clips are sent to: the version of a model that serves, or its candidate."""

    model: str
    candidate: Candidate | None = None


@dataclass
class _Group:
    """Records that wait to be sent to one callee with their queries, and their seconds of audio."""

    items: list[ActiveRecord] = field(default_factory=list)
    queries: list[Query] = field(default_factory=list)
    seconds: float = 0.0


class ModelCalls:
    """The calls of one list of records.

    Args:
        state: of the Router.
        answer: takes the answer of a model to a query.
        after: called when the answers of a call have been taken.
        fail: takes what no call may raise.
    """

    def __init__(
        self,
        state: RouterState,
        *,
        answer: Callable[[ActiveRecord, Query, str, Answer], None],
        after: Callable[[], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self._state = state
        self._answer = answer
        self._after = after
        self._fail = fail
        self._groups: dict[Callee, _Group] = {}  # not yet sent
        self._urgent: set[Callee] = set()  # whose groups are sent without waiting for more
        self._calls: set[asyncio.Task[None]] = set()

    def add(self, item: ActiveRecord, query: Query, *, urgent: bool = False) -> None:
        """Add a clip to the group of each model of `query`; groups that are full are sent.

        Args:
            item: the record.
            query: that its plan waits for.
            urgent: whether `send_urgent` is to send it.
        """
        for model in query.models:
            candidate, arm = self._state.candidates.arm(model, item.record)
            if candidate is not None:
                item.arms[model] = "candidate" if arm is Arm.CANARY else "incumbent"
            self._add(Callee(model, candidate if arm is Arm.CANARY else None), item, query, urgent)

    def _add(self, callee: Callee, item: ActiveRecord, query: Query, urgent: bool) -> None:
        group = self._groups.setdefault(callee, _Group())
        group.items.append(item)
        group.queries.append(query)
        group.seconds += item.seconds
        if urgent:
            self._urgent.add(callee)
        if group.seconds >= self._call_seconds(callee.model):
            self._send(callee)  # another replica may take the rest of the list

    def send_all(self) -> None:
        """Send what waits."""
        for callee in list(self._groups):
            self._send(callee)

    def send_urgent(self) -> None:
        """Send what must not wait for records that are still read."""
        for callee in self._urgent & self._groups.keys():
            self._send(callee)
        self._urgent.clear()

    def cancel(self) -> None:
        """Give up the calls whose answers are no longer needed."""
        for call in self._calls:
            call.cancel()

    def _call_seconds(self, model: str) -> float:
        """Seconds of audio in a group that is sent without waiting for the rest of the list.

        A model is busy when each replica has a call, and all but one have another that waits.
        """
        busy = self._state.calls[model] >= 2 * self._state.models[model].replicas - 1
        batches = BUSY_MODEL_BATCHES if busy else 1
        return batches * self._state.settings.models[model].batch_seconds

    def _send(self, callee: Callee) -> None:
        call = asyncio.create_task(self._call(callee, self._groups.pop(callee)))
        self._calls.add(call)
        self._state.calls[callee.model] += 1
        call.add_done_callback(partial(self._end_call, callee.model))

    def _end_call(self, model: str, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        self._state.calls[model] -= 1
        if not call.cancelled() and (fault := call.exception()) is not None:
            self._fail(fault)

    async def _call(self, callee: Callee, group: _Group) -> None:
        state, (model, candidate) = self._state, callee
        words = state.settings.models[model].words or model in state.planner.needs_words
        asked = [
            Asked(item.record, item.clip, ClipRequest.of(item.record, item.options, words=words))
            for item in group.items
        ]
        clips, requests = [each.clip for each in asked], [each.request for each in asked]
        spans = {
            place: item.trace.ask(model)
            for place, item in enumerate(group.items)
            if item.trace is not None
        }
        for place, span in spans.items():
            requests[place] = replace(requests[place], trace=traceparent(span))
        try:
            called = state.models[model] if candidate is None else candidate
            reply = await called.transcribe(clips, SAMPLE_RATE, requests)
        except ModelError as error:
            for span in spans.values():
                fail(span, error.code.value)
            state.candidates.failed(model, asked, error.code, of=candidate)
            self._take_failure(callee, group, error)
        else:
            state.candidates.answered(model, asked, reply.outcomes, of=candidate)
            self._take(callee, group, reply)
        finally:
            for span in spans.values():
                span.end()
        self.send_urgent()
        self._after()

    def _take_failure(self, callee: Callee, group: _Group, error: ModelError) -> None:
        model, candidate = callee
        if candidate is not None:
            self._ask_incumbent(model, group.items, group.queries)
            return
        failure = Failure(error.code, str(error), model)
        for item, query in zip(group.items, group.queries, strict=True):
            self._answer(item, query, model, failure)

    def _take(self, callee: Callee, group: _Group, reply: Reply) -> None:
        model, candidate = callee
        for item, query, outcome in zip(group.items, group.queries, reply.outcomes, strict=True):
            answer = _answer_of(model, outcome)
            if candidate is not None and not isinstance(answer, Hypothesis):
                self._ask_incumbent(model, [item], [query])
                continue
            item.queue_ms[model] = outcome.queue_ms
            item.model_ms[model] = outcome.model_ms
            item.models[model] = reply.sha256, reply.version
            if item.record.phrases and isinstance(answer, Hypothesis):
                item.phrases[model] = answer.phrases or 0
            self._answer(item, query, model, answer)

    def _ask_incumbent(
        self, model: str, items: Sequence[ActiveRecord], queries: Sequence[Query]
    ) -> None:
        """Have the version that serves take what its candidate has no answer for."""
        for item, query in zip(items, queries, strict=True):
            if item.query is query:  # nobody has given up waiting
                item.arms[model] = "incumbent"
                self._add(Callee(model), item, query, urgent=True)


def _answer_of(model: str, outcome: Outcome) -> Answer:
    result = outcome.result
    if isinstance(result, Hypothesis):
        return result
    return Failure(result.code, f"model {model}: {result.message}", model)
