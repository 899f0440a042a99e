"""Plans, text rules and phrases in the transcriber."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from schemas.failures import ErrorCode
from schemas.manifest import ManifestRecord
from schemas.requests import CallOptions, ClipRequest
from schemas.settings import (
    SPEECH_SHARE,
    AudioSettings,
    Condition,
    ModelSettings,
    Plan,
    Routing,
    Rule,
    Settings,
    Tiers,
)
from schemas.text_rules import TextRule, TextRules
from schemas.transcript import Transcript
from serve_app.audio.clip import Recording
from serve_app.engines.base import Rejection
from serve_app.model.protocol import ModelError, Outcome, Reply
from serve_app.router.transcriber import Transcriber
from serve_app.routing.plans import PlanRun, Query
from tests.serve_app.router.fake_models import FakeModel, load, record, settings, texts
from tests.waiting import until


def planned(
    plan: Plan, names: tuple[str, ...] = ("general", "medical", "legal")
) -> tuple[Transcriber, dict[str, FakeModel]]:
    """A router whose default is `plan`, with the models that it may ask."""
    chosen = Settings(
        models={name: ModelSettings(path=f"/models/{name}.nemo") for name in names},
        routing=Routing(default="plan"),
        audio=AudioSettings(roots=["/"]),
        plans={"plan": plan},
    )
    models = {name: FakeModel() for name in names}
    return Transcriber(chosen, models, load), models


ENSEMBLE = Plan(ensemble=["general", "medical", "legal"], patience_s=0.1)


async def test_an_ensemble_asks_every_member_once_and_says_what_each_heard() -> None:
    router, models = planned(ENSEMBLE)
    [result, _] = await router.transcribe([record(0), record(1)])
    assert isinstance(result, Transcript)
    assert {name: model.calls for name, model in models.items()} == {
        "general": [2],
        "medical": [2],
        "legal": [2],
    }
    assert result.pred_text == result.ensemble_pred_text == "100 samples"
    assert (result.plan, result.ensemble_model_count) == ("plan", 3)
    assert result.extra["pred_text_legal"] == "100 samples"
    assert result.timings.model_ms == 6
    assert result.failed_models is None
    assert router.memory.held_bytes == 0


async def test_a_member_that_dies_or_sleeps_does_not_hold_the_others() -> None:
    router, models = planned(ENSEMBLE)
    models["medical"].error = ModelError(ErrorCode.MODEL_DIED, "model medical: died")
    models["legal"].gate.clear()
    async with asyncio.timeout(5):
        [result] = await router.transcribe([record(0)])
    assert isinstance(result, Transcript)
    assert result.ensemble_model_count == 1
    assert result.failed_models == {"medical": "model_died", "legal": "model_timeout"}
    await until(lambda: router.state.calls == {"general": 0, "medical": 0, "legal": 0})
    assert router.memory.held_bytes == 0


async def test_an_ensemble_without_any_answer_is_an_error_of_its_record() -> None:
    router, models = planned(ENSEMBLE)
    for model in models.values():
        model.error = ModelError(ErrorCode.MODEL_UNAVAILABLE, "no replica")
    results = await router.transcribe([record(0), record(1)])
    assert texts(results) == ["model_unavailable"] * 2
    assert router.memory.held_bytes == 0


async def test_a_fallback_has_the_text_of_a_model_that_does_not_answer() -> None:
    router, models = planned(Plan(model="medical", fallback=["general"], fallback_after_s=0.1))
    models["medical"].gate.clear()
    async with asyncio.timeout(5):
        [result] = await router.transcribe([record(0)])
    assert isinstance(result, Transcript)
    assert (result.selected_model, result.fallback_from) == ("general", "plan")
    assert result.failed_models == {"medical": "model_timeout"}


async def test_a_fallback_has_the_text_of_a_model_whose_engine_is_at_fault() -> None:
    router, models = planned(Plan(model="medical", fallback=["general"]))
    fault = Rejection(code=ErrorCode.MODEL_FAULT, message="the engine x:Y fails on this clip")
    models["medical"]._outcome = lambda clip, phrases: Outcome(fault, 1, 2)  # type: ignore[method-assign]
    [result] = await router.transcribe([record(0)])
    assert isinstance(result, Transcript)
    assert (result.selected_model, result.fallback_from) == ("general", "plan")
    assert result.failed_models == {"medical": "model_fault"}


async def test_the_second_tier_goes_out_in_groups_too() -> None:
    router, models = planned(
        Plan(tiers=Tiers(screen="general", high_quality="medical", min_confidence=0.5))
    )
    results = await router.transcribe([record(n) for n in range(3)])
    assert texts(results) == ["100 samples", "101 samples", "102 samples"]
    assert (models["general"].calls, models["medical"].calls) == ([3], [3])
    [first, *_] = results
    assert isinstance(first, Transcript)
    assert (first.processing_tier, first.screening_pred) == ("high_quality", "100 samples")
    assert (first.final_pred, first.selected_model) == ("100 samples", "medical")


async def test_a_broken_plan_costs_only_the_record_that_breaks_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    router, _ = planned(ENSEMBLE)
    run = router.state.planner.run

    def faulty(target: str, rec: ManifestRecord) -> PlanRun:
        if rec.id == "r1":

            def breaks() -> PlanRun:
                yield Query(("general",))
                raise KeyError("a bug of the plan")

            return breaks()
        return run(target, rec)

    monkeypatch.setattr(router.state.planner, "run", faulty)
    results = await router.transcribe([record(0), record(1), record(2)])
    assert texts(results) == ["100 samples", "router_fault", "102 samples"]
    assert router.memory.held_bytes == 0


async def test_a_bug_in_a_call_is_raised_and_nothing_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    router, models = planned(ENSEMBLE)

    async def broken(*_: Any, **__: Any) -> Reply:
        raise ValueError("a bug of the client")

    monkeypatch.setattr(models["medical"], "transcribe", broken)
    async with asyncio.timeout(5):
        with pytest.raises(ValueError, match="a bug of the client"):
            await router.transcribe([record(0)])
    assert router.memory.held_bytes == 0


async def test_a_model_writes_as_its_domain_does() -> None:
    chosen = settings()
    rule = TextRule(find="samples", replace="smp")
    chosen.text_rules = {"short": TextRules(rules=[rule])}
    chosen.models["medical"].text_rules = "short"
    router = Transcriber(chosen, {"general": FakeModel(), "medical": FakeModel()}, load)
    plain, ruled = await router.transcribe(
        [record(0, text="100 smp"), record(1, text="101 smp", domain="medical")]
    )
    assert isinstance(plain, Transcript)
    assert isinstance(ruled, Transcript)
    assert (plain.pred_text, plain.heard_text, plain.wer) == ("100 samples", None, 50.0)
    assert (ruled.pred_text, ruled.heard_text, ruled.wer) == ("101 smp", "101 samples", 0.0)


async def test_phrases_of_a_record_go_to_every_model_that_is_asked_and_are_counted() -> None:
    router, models = planned(ENSEMBLE)
    models["medical"].listens = True
    results = await router.transcribe([record(0, phrases=["bilirubin", "jane doe"]), record(1)])
    first, second = results
    assert isinstance(first, Transcript)
    assert isinstance(second, Transcript)
    asked = sorted(each.phrases for each in models["medical"].requests)
    assert asked == [(), ("bilirubin", "jane doe")]
    assert first.phrases == ["bilirubin", "jane doe"]
    assert first.phrases_used == {"general": 0, "medical": 2, "legal": 0}
    assert second.phrases_used is None


async def test_the_share_of_speech_is_measured_only_where_a_rule_asks_for_it() -> None:
    chosen = settings()
    silent = Condition(field=SPEECH_SHARE, below=0.1)
    chosen.routing.rules.insert(0, Rule(name="silent", model="medical", all=[silent]))
    router = Transcriber(chosen, {"general": FakeModel(), "medical": FakeModel()}, load)
    [result] = await router.transcribe([record(0)])
    assert isinstance(result, Transcript)
    assert (result.rule, result.audio_measures["speech_share"]) == ("silent", 0.0)


async def test_a_caller_may_name_the_plan_and_bring_the_audio() -> None:
    router, models = planned(ENSEMBLE)
    clip = np.zeros(4_000, np.float32)
    options = CallOptions(target="medical", words=True, interactive=True)
    [result] = await router.transcribe([record(0)], clips=[Recording(clip)], options=options)
    assert isinstance(result, Transcript)
    assert (result.pred_text, result.rule) == ("4000 samples", "requested")
    assert (result.selected_model, result.plan) == ("medical", None)
    assert models["medical"].requests == [ClipRequest(words=True, interactive=True)]
    assert models["general"].calls == []
    assert router.memory.held_bytes == 0
