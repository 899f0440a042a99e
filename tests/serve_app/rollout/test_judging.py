"""Rollouts from beginning to end, on a registry in a folder, with a candidate that the test is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.rollout import RolloutPlan
from serve_app.registry.local_store import LocalStore
from serve_app.registry.registry import Registry
from serve_app.rollout.evidence import Heard, Observation
from serve_app.rollout.judging import CandidateFailedError, Judging
from serve_app.rollout.records import Rollout, Rollouts
from serve_app.rollout.verdict import Verdict
from tests.serve_app.rollout.plans import plan
from tests.versioned import promote, register

SAID = "one two three four"
BAD, GOOD, WORSE = Heard(text="one two three"), Heard(text=SAID), Heard(text="one")


class Stage:
    """The surroundings of a candidate; `failure` is why it cannot be served."""

    def __init__(self) -> None:
        self.there = True
        self.failure = ""
        self.admits = False
        self.ended = False

    async def answers(self) -> bool:
        if self.failure:
            raise CandidateFailedError(self.failure)
        return self.there

    async def admit(self) -> None:
        self.admits = True

    async def shut(self) -> None:
        self.admits = False

    async def end(self) -> None:
        self.ended = True


class Trial:
    """A rollout of version 2 against version 1."""

    def __init__(self, folder: Path, **rules: Any) -> None:
        register(folder, "m", "one")
        register(folder, "m", "two")
        register(folder, "m", "three")
        promote(folder, "m", "1")
        self.folder = folder
        self.registry = Registry(LocalStore(folder))
        self.rollouts = Rollouts(self.registry.store)
        self.plan: RolloutPlan = self.rollouts.begin(
            plan(number=0, min_blocks=30, sharpest_at=50, **rules)
        )
        self.stage = Stage()

    async def judging(self) -> Judging:
        judging = Judging(self.plan, self.registry, self.stage)
        await judging.load()
        return judging

    @property
    def rollout(self) -> Rollout:
        found = self.rollouts.last("m", "production")
        assert found is not None
        return found

    @property
    def serves(self) -> str:
        return self.registry.aliases("m")["production"]


@pytest.fixture
def trial(tmp_path: Path) -> Callable[..., Trial]:
    return lambda **rules: Trial(tmp_path / "registry", **rules)


def speech(candidate: Heard, count: int = 40, first: int = 0) -> list[Observation]:
    return [
        Observation(
            record=f"r{number}",
            block=f"b{number}",
            reference=SAID,
            incumbent=BAD,
            candidate=candidate,
        )
        for number in range(first, first + count)
    ]


async def test_a_better_candidate_is_promoted(trial: Callable[..., Trial]) -> None:
    found = trial(promote="automatic")
    judging = await found.judging()
    await judging.look()
    assert found.stage.admits
    judging.observe(speech(GOOD))
    await judging.look()
    assert found.serves == "2"
    [event] = found.rollout.events
    assert (event.kind, event.by) == ("promoted", "chorus")
    assert event.why == "its WER is below the incumbent's"
    moved = found.registry.history("m", "production")[-1].move
    assert (moved.by, moved.why) == ("chorus", "rollout 1: its WER is below the incumbent's")
    assert (found.stage.admits, found.stage.ended, judging.ended) == (False, True, True)


async def test_by_hand_a_better_candidate_waits_for_a_person(trial: Callable[..., Trial]) -> None:
    found = trial()
    judging = await found.judging()
    judging.observe(speech(GOOD))
    await judging.look()
    assert (found.serves, found.stage.admits, found.stage.ended) == ("1", False, False)
    assert found.rollout.paused is not None
    assert found.rollout.paused.why == "better: its WER is below the incumbent's"
    found.rollouts.add(found.plan, "resumed", by="ann")
    await judging.look()
    assert found.stage.admits  # it is not paused again for the same verdict
    again = await found.judging()  # nor by a process that takes over
    await again.look()
    assert found.rollout.paused is None
    found.registry.promote("m", "2", "production", over="1")
    await again.look()
    assert found.rollout.end is not None
    assert (found.rollout.end.kind, found.stage.ended) == ("promoted", True)


async def test_a_worse_candidate_is_rolled_back(trial: Callable[..., Trial]) -> None:
    found = trial(promote="automatic")
    judging = await found.judging()
    judging.observe(speech(WORSE))
    await judging.look()
    assert (found.serves, found.stage.admits, found.stage.ended) == ("1", False, True)
    assert found.rollout.end is not None
    assert found.rollout.end.kind == "rolled_back"
    _, evidence = found.rollouts.evidence(found.plan)
    assert evidence.findings(found.plan.rules).verdict is Verdict.ROLL_BACK  # stored to the last


async def test_one_that_does_not_load_is_rolled_back(trial: Callable[..., Trial]) -> None:
    found = trial()
    found.stage.failure = "it did not load: told to fail"
    judging = await found.judging()
    await judging.look()
    assert found.rollout.end is not None
    assert found.rollout.end.why == "it did not load: told to fail"
    assert (found.stage.admits, found.stage.ended) == (False, True)


async def test_one_that_falls_silent_gets_no_speech_and_is_given_up(
    trial: Callable[..., Trial],
) -> None:
    found = trial()
    found.stage.there = False
    judging = await found.judging()
    for _ in range(20):  # it may take long to load
        await judging.look()
    assert (found.stage.admits, found.rollout.end) == (False, None)
    found.stage.there = True
    await judging.look()
    assert found.stage.admits
    found.stage.there = False
    await judging.look()
    assert (found.stage.admits, found.rollout.end) == (False, None)
    for _ in range(5):
        await judging.look()
    assert found.rollout.end is not None
    assert found.rollout.end.why == "it does not answer any more"


@pytest.mark.parametrize(
    ("version", "kind"), [("3", "superseded"), ("2", "promoted")], ids=["another", "candidate"]
)
async def test_who_moves_the_alias_ends_it(
    trial: Callable[..., Trial], version: str, kind: str
) -> None:
    found = trial()
    judging = await found.judging()
    await judging.look()
    promote(found.folder, "m", version)
    await judging.look()
    assert found.rollout.end is not None
    assert found.rollout.end.kind == kind
    assert (found.stage.ended, found.serves) == (True, version)


async def test_a_person_pauses_and_ends_it(trial: Callable[..., Trial]) -> None:
    found = trial()
    judging = await found.judging()
    await judging.look()
    found.rollouts.add(found.plan, "paused", by="ann")
    await judging.look()
    assert (found.stage.admits, found.stage.ended) == (False, False)
    found.rollouts.add(found.plan, "resumed", by="ann")
    await judging.look()
    assert found.stage.admits
    found.rollouts.add(found.plan, "aborted", by="ann")
    await judging.look()
    assert (found.stage.admits, found.stage.ended) == (False, True)
    assert [each.kind for each in found.rollout.events] == ["paused", "resumed", "aborted"]


async def test_what_was_observed_outlives_the_process(trial: Callable[..., Trial]) -> None:
    found = trial()
    first = await found.judging()
    first.observe(speech(GOOD, 20))
    await first.look()
    second = await found.judging()
    second.observe(speech(GOOD, 20))  # the stream repeats what was not committed
    assert second.findings() == first.findings()
    second.observe(speech(GOOD, 10, first=20))
    assert second.findings().verdict is Verdict.PROMOTE


async def test_two_that_judge_the_same_do_not_overwrite_one_another(
    trial: Callable[..., Trial], caplog: pytest.LogCaptureFixture
) -> None:
    found = trial()
    first, second = await found.judging(), await found.judging()
    first.observe(speech(GOOD, 10))
    await first.look()
    second.observe(speech(GOOD, 5, first=50))
    await second.look()
    assert "another process judges it too" in caplog.text
    assert second.findings().records == 10


async def test_a_registry_out_of_reach_costs_no_verdict(
    trial: Callable[..., Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = trial(promote="automatic")
    judging = await found.judging()
    judging.observe(speech(GOOD))

    def unreachable(*args: object, **options: object) -> None:
        raise OSError("out of reach")

    with monkeypatch.context() as patch:
        patch.setattr(found.registry, "promote", unreachable)
        with pytest.raises(OSError, match="out of reach"):
            await judging.look()
    assert (found.serves, found.rollout.end) == ("1", None)
    await judging.look()
    assert found.serves == "2"
