"""Run a rollout: let speech through to the candidate, and act on what is observed.

Everything that lasts is in the registry, so a process that takes over goes on where the last one
was.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from typing import Protocol

from schemas.rollout import EventKind, RolloutPlan
from serve_app.registry.errors import ConflictError
from serve_app.registry.registry import Registry
from serve_app.rollout.evidence import Evidence, Findings, Observation
from serve_app.rollout.records import Rollouts
from serve_app.rollout.verdict import Verdict

logger = logging.getLogger(__name__)

#: Who acts where the rules do.
RULES = "chorus"
#: Seconds between two times that what has been observed is stored, if there is anything new.
_STORE_S = 10.0
#: Looks in a row at a candidate that has run before and does not answer, until it is given up.
_SILENT_LOOKS = 6


class CandidateFailedError(Exception):
    """The candidate cannot be served; the message says why."""


class Surroundings(Protocol):
    """What runs around a rollout."""

    async def answers(self) -> bool:
        """Whether the candidate is loaded and answers.

        Raises:
            CandidateFailedError: it never will.
        """
        ...

    async def admit(self) -> None:
        """Let speech through to the candidate from now on. Idempotent."""
        ...

    async def shut(self) -> None:
        """Let none through from now on. Idempotent."""
        ...

    async def end(self) -> None:
        """Remove the candidate, and whoever calls this."""
        ...


class Judging:
    """A rollout that is under way.

    Args:
        plan: of the rollout.
        registry: that has it.
        surroundings: of the candidate.
    """

    def __init__(self, plan: RolloutPlan, registry: Registry, surroundings: Surroundings) -> None:
        self._plan = plan
        self._registry = registry
        self._rollouts = Rollouts(registry.store)
        self._surroundings = surroundings
        self._evidence = Evidence()
        self._number = 0  # of what was stored last
        self._stored_at = 0.0
        self._stored: tuple[int, Verdict | None] = (0, None)
        self._ran = False
        self._silent = 0
        self.ended = False

    async def load(self) -> None:
        """Go on from what was stored last."""
        self._number, self._evidence = await asyncio.to_thread(self._rollouts.evidence, self._plan)
        self._stored = self._evidence.records, self._evidence.acted

    def observe(self, observations: Sequence[Observation]) -> None:
        """Add to the evidence what it does not have."""
        for each in observations:
            self._evidence.add(each, self._plan.rules)

    def findings(self) -> Findings:
        """What the evidence says now."""
        return self._evidence.findings(self._plan.rules)

    async def look(self) -> None:
        """Look once at the rollout and its candidate, and act.

        Raises:
            OSError: the registry is out of reach.
        """
        plan = self._plan
        rollout = await asyncio.to_thread(self._rollouts.last, plan.name, plan.alias)
        if rollout is None or rollout.plan.number != plan.number or rollout.end is not None:
            await self._leave("it was ended")
            return
        names = (await asyncio.to_thread(self._registry.aliases, plan.name)).get(plan.alias)
        if names != plan.incumbent:
            kind: EventKind = "promoted" if names == plan.candidate else "superseded"
            await self._end(kind, f"{plan.name}@{plan.alias} names version {names}")
            return
        try:
            there = await self._is_there()
        except CandidateFailedError as error:
            await self._end("rolled_back", str(error))
            return
        if rollout.paused is not None or not there:
            await self._surroundings.shut()
        else:
            await self._surroundings.admit()
        await self._act(self.findings())
        await self._store()

    async def _is_there(self) -> bool:
        if await self._surroundings.answers():
            self._ran, self._silent = True, 0
            return True
        if self._ran:
            self._silent += 1
            if self._silent >= _SILENT_LOOKS:
                raise CandidateFailedError("it does not answer any more")
        return False

    async def _act(self, findings: Findings) -> None:
        """Do what the verdict asks for, once; a person may go on after it."""
        plan, verdict, reason = self._plan, findings.verdict, findings.reason
        if verdict is Verdict.HOLD or verdict is self._evidence.acted:
            return
        if verdict is Verdict.ROLL_BACK:
            await self._end("rolled_back", reason)
        elif verdict is Verdict.PROMOTE and plan.rules.promote == "automatic":
            await asyncio.to_thread(
                self._registry.promote,
                plan.name,
                plan.candidate,
                plan.alias,
                why=f"rollout {plan.number}: {reason}",
                by=RULES,
                over=plan.incumbent,
            )
            await self._end("promoted", reason)
        else:
            await self._surroundings.shut()
            what = "better" if verdict is Verdict.PROMOTE else verdict.value
            await self._record("paused", f"{what}: {reason}")
        self._evidence.acted = verdict

    async def _end(self, kind: EventKind, why: str) -> None:
        await self._surroundings.shut()
        await self._record(kind, why)
        await self._leave(f"{kind.replace('_', ' ')}: {why}")

    async def _record(self, kind: EventKind, why: str) -> None:
        logger.warning("rollout %s: %s: %s", self._plan.id, kind.replace("_", " "), why)
        with contextlib.suppress(ConflictError):  # somebody has ended it
            await asyncio.to_thread(self._rollouts.add, self._plan, kind, by=RULES, why=why)

    async def _leave(self, why: str) -> None:
        await self._surroundings.shut()
        await self._store(at_once=True)
        logger.info("rollout %s: its candidate is removed; %s", self._plan.id, why)
        self.ended = True
        await self._surroundings.end()

    async def _store(self, *, at_once: bool = False) -> None:
        evidence = self._evidence
        state = evidence.records, evidence.acted
        soon = at_once or evidence.acted != self._stored[1]
        if state == self._stored or not (soon or time.monotonic() - self._stored_at > _STORE_S):
            return
        self._stored_at, self._stored = time.monotonic(), state
        self._number += 1
        try:
            await asyncio.to_thread(
                self._rollouts.store_evidence, self._plan, self._number, evidence
            )
        except FileExistsError:
            logger.warning(
                "rollout %s: another process judges it too; going on from what that one has stored",
                self._plan.id,
            )
            await self.load()
