"""Rollouts as files of the registry, which outlive every process.

``rollouts/NAME/ALIAS/000003/plan.json`` is the third rollout to an alias, ``events/000002.json``
there the second thing that was done to it, and ``evidence/000117.json`` what had been observed at
some moment; of these only the last ones are kept. As everywhere in a registry, no file is
overwritten.
"""

from __future__ import annotations

import contextlib
from functools import cached_property

import msgspec

from schemas.rollout import ENDS, EventKind, RolloutEvent, RolloutPlan
from serve_app.registry.errors import ConflictError
from serve_app.registry.provenance import now
from serve_app.registry.registry import ROLLOUTS, pretty
from serve_app.registry.store import Store, numbers_in
from serve_app.rollout.evidence import Evidence


class Rollout(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A rollout with what was done to it.

    Attributes:
        plan: how it was begun.
        events: what was done to it since, the first one first.
    """

    plan: RolloutPlan
    events: list[RolloutEvent]

    @cached_property
    def end(self) -> RolloutEvent | None:
        """What ended it; None while it is under way."""
        return next((each for each in self.events if each.kind in ENDS), None)

    @property
    def paused(self) -> RolloutEvent | None:
        """What paused it; None while it is not."""
        last = self.events[-1] if self.events else None
        return last if last is not None and last.kind == "paused" else None


class Rollouts:
    """The rollouts of a registry. Its methods block, and raise `OSError` if it is out of reach.

    Args:
        store: of the registry.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self) -> list[Rollout]:
        """The last rollout to each alias of each model."""
        aliases = {tuple(key.split("/")[1:3]) for key in self._store.keys(ROLLOUTS)}
        found = [self.last(name, alias) for name, alias in sorted(aliases)]
        return [each for each in found if each is not None]

    def last(self, name: str, alias: str) -> Rollout | None:
        """The last rollout to an alias; None if there was none."""
        numbers = numbers_in(self._store, f"{ROLLOUTS}/{name}/{alias}", "plan.json")
        if not numbers:
            return None
        folder = f"{ROLLOUTS}/{name}/{alias}/{numbers[-1]:06}"
        plan = msgspec.json.decode(self._store.read(f"{folder}/plan.json"), type=RolloutPlan)
        return Rollout(plan=plan, events=self._events(plan))

    def begin(self, plan: RolloutPlan) -> RolloutPlan:
        """Begin a rollout; its number and time are set here.

        Raises:
            ConflictError: one to the same alias is under way.
        """
        last = self.last(plan.name, plan.alias)
        if last is not None and last.end is None:
            raise ConflictError(
                f"a rollout to {plan.name}@{plan.alias} is under way, of version "
                f"{last.plan.candidate} since {last.plan.at}; `chorus rollout abort {plan.model}` "
                "ends it"
            )
        number = last.plan.number + 1 if last is not None else 1
        plan = msgspec.structs.replace(plan, number=number, at=now())
        try:
            self._store.create(f"{_folder(plan)}/plan.json", pretty(plan))
        except FileExistsError:
            raise ConflictError(
                f"somebody else has begun a rollout to {plan.name}@{plan.alias} at this moment"
            ) from None
        return plan

    def add(self, plan: RolloutPlan, kind: EventKind, *, by: str, why: str = "") -> RolloutEvent:
        """Record something that is done to a rollout.

        Raises:
            ConflictError: it has ended.
        """
        event = RolloutEvent(kind=kind, by=by, at=now(), why=why)
        while True:
            rollout = Rollout(plan=plan, events=self._events(plan))
            if rollout.end is not None:
                raise ConflictError(
                    f"rollout {plan.number} to {plan.name}@{plan.alias} has ended: "
                    f"{rollout.end.kind} by {rollout.end.by} at {rollout.end.at}"
                )
            key = f"{_folder(plan)}/events/{len(rollout.events) + 1:06}.json"
            with contextlib.suppress(FileExistsError):
                self._store.create(key, pretty(event))
                return event

    def evidence(self, plan: RolloutPlan) -> tuple[int, Evidence]:
        """What was stored last, and its number; 0 and nothing before the first time."""
        folder = f"{_folder(plan)}/evidence"
        for number in reversed(numbers_in(self._store, folder)):
            with contextlib.suppress(FileNotFoundError):  # removed by a later one meanwhile
                data = self._store.read(f"{folder}/{number:06}.json")
                return number, msgspec.json.decode(data, type=Evidence)
        return 0, Evidence()

    def store_evidence(self, plan: RolloutPlan, number: int, evidence: Evidence) -> None:
        """Store what has been observed, in place of what was stored before.

        Args:
            plan: of the rollout.
            number: one more than that of `evidence`, or of the last time.
            evidence: all of it.

        Raises:
            FileExistsError: another process has stored that number.
        """
        folder = f"{_folder(plan)}/evidence"
        self._store.create(f"{folder}/{number:06}.json", msgspec.json.encode(evidence))
        for older in numbers_in(self._store, folder):
            if older < number - 1:  # somebody may be reading the one before
                self._store.remove(f"{folder}/{older:06}.json")

    def _events(self, plan: RolloutPlan) -> list[RolloutEvent]:
        folder = f"{_folder(plan)}/events"
        return [
            msgspec.json.decode(self._store.read(f"{folder}/{number:06}.json"), type=RolloutEvent)
            for number in numbers_in(self._store, folder)
        ]


def _folder(plan: RolloutPlan) -> str:
    return f"{ROLLOUTS}/{plan.name}/{plan.alias}/{plan.number:06}"
