"""Rollouts in the Router: who is asked, what is published, and what is observed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from schemas.failures import ErrorCode
from schemas.manifest import ManifestRecord
from schemas.requests import CallOptions, ClipRequest
from schemas.transcript import Transcript
from serve_app.audio.clip import Clip
from serve_app.engines.base import Hypothesis
from serve_app.model.protocol import ModelError, Outcome, Reply
from serve_app.rollout.arms import Arm, arm_of, block_of
from serve_app.rollout.evidence import Observation
from serve_app.router import candidates
from serve_app.router.results import Result
from tests.serve_app.rollout.plans import plan
from tests.serve_app.router.fake_models import FakeModel, record, texts, transcriber
from tests.waiting import until


class Newer(FakeModel):
    """A candidate, which writes other texts."""

    def _outcome(self, clip: Clip, phrases: tuple[str, ...]) -> Outcome:
        found = super()._outcome(clip, phrases)
        if isinstance(found.result, Hypothesis):
            newer = Hypothesis(text=f"newer {found.result.text}", confidence=0.9)
            return Outcome(newer, queue_ms=1, model_ms=2)
        return found

    async def transcribe(
        self, clips: Sequence[Clip], sample_rate: int, requests: Sequence[ClipRequest] = ()
    ) -> Reply:
        reply = await super().transcribe(clips, sample_rate, requests)
        return Reply(reply.outcomes, sha256="def", version="2")


class Trial:
    """A Router with a rollout of the model `general`."""

    def __init__(self, **rules: Any) -> None:
        self.plan = plan(**rules)
        self.router, self.models = transcriber()
        self.incumbent, self.candidate = self.models["general"], Newer()
        self.observed: list[Observation] = []
        self.judge_fails = False
        self.update("general")

    def update(self, *models: str) -> None:
        plans = dict.fromkeys(models, self.plan)
        self.router.candidates.update(plans, lambda _: (self.candidate, self._report))

    async def _report(self, observed: list[Observation]) -> None:
        if self.judge_fails:
            raise ConnectionError("it starts again")
        self.observed += observed

    def arm(self, rec: ManifestRecord) -> Arm:
        return arm_of(self.plan, block_of(rec, "recording"))

    def by_arm(self, records: Sequence[ManifestRecord]) -> Counter[Arm]:
        return Counter(map(self.arm, records))


RECORDS = [record(number, text=f"{100 + number} samples") for number in range(60)]


def arms(results: Sequence[Result]) -> Counter[tuple[str | None, str | None]]:
    return Counter(
        (each.arm, each.model_version) for each in results if isinstance(each, Transcript)
    )


async def reported(trial: Trial, count: int) -> list[Observation]:
    """What is observed, once it is `count` records."""

    async def enough() -> bool:
        await trial.router.candidates.report()
        return len(trial.observed) >= count

    async with asyncio.timeout(10):
        while not await enough():
            await asyncio.sleep(0)
    assert len(trial.observed) == count
    return trial.observed


async def test_channels_of_a_recording_are_observed_apart() -> None:
    """A record counts once, however often it comes; its channels are two."""
    trial = Trial(shadow=1.0)
    await trial.router.transcribe([record(0, channel=0), record(0, channel=1), record(1)])
    observed = await reported(trial, 3)
    assert {each.record for each in observed} == {"r0#0", "r0#1", "r1"}
    assert len({each.block for each in observed}) == 2


async def test_a_shadow_is_transcribed_twice_and_published_once() -> None:
    trial = Trial(shadow=0.5)
    results = await trial.router.transcribe(RECORDS)
    assert texts(results) == [f"{100 + number} samples" for number in range(60)]
    assert arms(results) == {("incumbent", None): 60}
    count = trial.by_arm(RECORDS)[Arm.SHADOW]
    observed = await reported(trial, count)
    assert trial.candidate.calls == [count]
    assert {each.record for each in observed} == {
        each.id for each in RECORDS if trial.arm(each) is Arm.SHADOW
    }
    for each in observed:
        assert each.incumbent is not None
        assert each.candidate is not None
        assert each.reference == each.incumbent.text
        assert each.candidate.text == f"newer {each.incumbent.text}"
        assert each.candidate.seconds is None  # nobody waited


async def test_a_canary_is_published_and_names_what_made_it() -> None:
    trial = Trial(shadow=0.0, canary=0.5)
    results = await trial.router.transcribe(RECORDS)
    for rec, result in zip(RECORDS, results, strict=True):
        assert isinstance(result, Transcript)
        if trial.arm(rec) is Arm.CANARY:
            assert result.pred_text == f"newer {rec.text}"
            assert (result.arm, result.model_version, result.model_sha256) == (
                "candidate",
                "2",
                "def",
            )
        else:
            assert (result.pred_text, result.arm) == (rec.text, "incumbent")
    count = trial.by_arm(RECORDS)
    observed = await reported(trial, count[Arm.CANARY] + count[Arm.CONTROL])
    assert Counter((each.incumbent is None, each.candidate is None) for each in observed) == {
        (True, False): count[Arm.CANARY],
        (False, True): count[Arm.CONTROL],
    }


@pytest.mark.parametrize("code", [ErrorCode.MODEL_DIED, ErrorCode.MODEL_TIMEOUT])
async def test_the_death_of_a_candidate_costs_no_record(code: ErrorCode) -> None:
    trial = Trial(shadow=0.3, canary=0.5)
    trial.candidate.error = ModelError(code, "gone")
    results = await trial.router.transcribe(RECORDS)
    assert texts(results) == [f"{100 + number} samples" for number in range(60)]
    assert arms(results) == {("incumbent", None): 60}
    observed = await reported(trial, 60)  # those of the control too
    assert {each.candidate.failure for each in observed if each.candidate} == {code.value}
    assert len({each.candidate.outage for each in observed if each.candidate}) == 1  # one cause
    assert trial.router.memory.held_bytes == 0


async def test_a_candidate_that_failed_rests() -> None:
    trial = Trial(shadow=0.0, canary=1.0)
    trial.candidate.error = ModelError(ErrorCode.MODEL_DIED, "gone")
    await trial.router.transcribe(RECORDS[:10])
    await trial.router.transcribe(RECORDS[10:])
    assert trial.candidate.calls == [10]  # not asked again at once
    assert trial.incumbent.calls == [10, 50]


async def test_it_is_asked_again_after_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "REST_S", 0.0)
    trial = Trial(shadow=0.0, canary=1.0)
    trial.candidate.error = ModelError(ErrorCode.MODEL_DIED, "gone")
    await trial.router.transcribe(RECORDS[:10])
    trial.candidate.error = None
    results = await trial.router.transcribe(RECORDS[10:])
    assert arms(results) == {("candidate", "2"): 50}


async def test_what_a_candidate_rejects_the_incumbent_takes() -> None:
    trial = Trial(shadow=0.0, canary=1.0)
    trial.incumbent._outcome = FakeModel()._outcome  # type: ignore[method-assign]
    odd = record(3, conditions="rejected")
    results = await trial.router.transcribe([*RECORDS[:2], odd])
    assert texts(results) == ["newer 100 samples", "newer 101 samples", "model_rejected"]
    assert trial.candidate.calls == [3]
    assert trial.incumbent.calls == [1]  # for the one, which it rejects too


async def test_a_slow_candidate_delays_nobody_but_its_canary() -> None:
    trial = Trial(shadow=0.5, canary=0.0)
    trial.candidate.gate.clear()
    results = await trial.router.transcribe(RECORDS)
    assert arms(results) == {("incumbent", None): 60}
    assert trial.router.memory.held_bytes == 0
    trial.candidate.gate.set()
    await reported(trial, trial.by_arm(RECORDS)[Arm.SHADOW])


async def test_audio_that_waits_for_a_candidate_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(candidates, "MAX_SHADOW_BYTES", 5000)  # twelve clips of 100 samples
    trial = Trial(shadow=1.0)
    trial.candidate.gate.clear()
    await trial.router.transcribe(RECORDS)
    trial.candidate.gate.set()
    async with asyncio.timeout(10):
        while not trial.observed:
            await trial.router.candidates.report()
            await asyncio.sleep(0)
    assert 5 < len(trial.observed) < 15
    trial.observed.clear()
    await trial.router.transcribe([record(7)])  # there is room again
    await reported(trial, 1)


async def test_who_waits_is_timed() -> None:
    trial = Trial(shadow=1.0)
    await trial.router.transcribe(RECORDS[:5], options=CallOptions(interactive=True))
    for each in await reported(trial, 5):
        assert each.incumbent is not None
        assert each.incumbent.seconds == pytest.approx(0.003)


async def test_other_models_and_ended_rollouts_are_left_alone() -> None:
    trial = Trial(shadow=0.0, canary=1.0)
    other = [record(number, domain="medical") for number in range(5)]
    assert arms(await trial.router.transcribe(other)) == {(None, None): 5}
    trial.update()
    assert arms(await trial.router.transcribe(RECORDS)) == {(None, None): 60}
    assert trial.candidate.calls == []


async def test_what_the_judge_does_not_take_is_told_later() -> None:
    trial = Trial(shadow=1.0)
    trial.judge_fails = True
    await trial.router.transcribe(RECORDS[:5])
    await until(lambda: trial.candidate.calls == [5])
    for _ in range(20):
        await trial.router.candidates.report()
        await asyncio.sleep(0)
    assert trial.observed == []
    trial.judge_fails = False
    await reported(trial, 5)
