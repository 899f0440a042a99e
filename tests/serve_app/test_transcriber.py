from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from schemas.failures import ErrorCode, RecordError
from schemas.how import How
from schemas.manifest import ManifestRecord
from schemas.settings import (
    MEASURES,
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
from serve_app.audio import AudioError
from serve_app.batcher import Outcome
from serve_app.domain_model import Reply
from serve_app.engines.base import Clip, Hypothesis, Phrases, Rejection
from serve_app.plans import Ask, Course
from serve_app.reading import SAMPLE_RATE
from serve_app.results import Result
from serve_app.selection import Choice
from serve_app.transcriber import ModelError, Transcriber


def record(number: int, **keys: Any) -> ManifestRecord:
    return ManifestRecord(**{"id": f"r{number}", "audio_filepath": f"{number}.wav", **keys})


def settings(batch_seconds: float = 1000.0, threads: int = 4) -> Settings:
    def model(name: str) -> ModelSettings:
        return ModelSettings(path=f"/models/{name}.nemo", batch_seconds=batch_seconds)

    return Settings(
        models={name: model(name) for name in ("general", "medical")},
        routing=Routing(
            default="general",
            rules=[
                Rule(
                    name="domain",
                    model="medical",
                    all=[Condition(field="domain", equals="medical")],
                )
            ],
        ),
        audio=AudioSettings(roots=["/"], threads=threads),
    )


class FakeModel:
    """Says how many samples it heard; `gate` holds its answers, `error` replaces them; `listens`
    makes it count a clip's phrases."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.calls: list[int] = []
        self.error: ModelError | None = None
        self.listens = False
        self.phrases: Sequence[Phrases] = ()
        self.interactive = False

    async def transcribe(
        self,
        clips: Sequence[Clip],
        sample_rate: int,
        *,
        words: bool = False,
        phrases: Sequence[Phrases] = (),
        interactive: bool = False,
    ) -> Reply:
        assert sample_rate == SAMPLE_RATE
        self.calls.append(len(clips))
        self.phrases = phrases
        self.interactive = interactive
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        wanted = phrases or [()] * len(clips)
        pairs = zip(clips, wanted, strict=True)
        return Reply([self._outcome(clip, own) for clip, own in pairs], sha256="abc")

    def _outcome(self, clip: Clip, phrases: Phrases) -> Outcome:
        if clip[0] == 1.0:
            refused = Rejection(code=ErrorCode.MODEL_REJECTED, message="no")
            return Outcome(refused, queue_ms=1, model_ms=2)
        count = len(phrases) if self.listens and phrases else None
        heard = Hypothesis(text=f"{len(clip)} samples", phrases=count)
        return Outcome(heard, queue_ms=1, model_ms=2)


def load(rec: ManifestRecord) -> Clip:
    """`number.wav` has 100 + number samples; what else it does is in its `conditions`."""
    if rec.conditions == "bad":
        raise AudioError(ErrorCode.AUDIO_UNDECODABLE, f"{rec.audio_filepath}: not audio")
    if rec.conditions == "bug":
        raise ZeroDivisionError("a bug of the loader")
    if rec.conditions == "storage":
        raise OSError(5, "Input/output error")
    clip = np.zeros(100 + int(rec.id[1:]), np.float32)
    clip[0] = rec.conditions == "rejected"
    return clip


def transcriber(
    load: Callable[[ManifestRecord], Clip] = load, **options: Any
) -> tuple[Transcriber, dict[str, FakeModel]]:
    models = {"general": FakeModel(), "medical": FakeModel()}
    limit = options.pop("max_audio_bytes", 1 << 30)
    return Transcriber(settings(**options), models, load, max_audio_bytes=limit), models


def texts(results: Sequence[Result]) -> list[str]:
    return [r.pred_text if isinstance(r, Transcript) else r.code.value for r in results]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_one_result_per_record_in_order_one_call_per_model() -> None:
    router, models = transcriber()
    domains = ["medical" if number % 3 == 0 else None for number in range(20)]
    records = [record(number, domain=domain) for number, domain in enumerate(domains)]
    results = await router.transcribe(records)
    assert [result.id for result in results] == [rec.id for rec in records]
    assert texts(results) == [f"{100 + number} samples" for number in range(20)]
    assert [r.selected_model for r in results if isinstance(r, Transcript)] == [
        domain or "general" for domain in domains
    ]
    assert models["general"].calls == [13]
    assert models["medical"].calls == [7]
    assert router.memory.held_bytes == 0


async def test_what_is_wrong_with_one_record_is_its_own_affair() -> None:
    router, _ = transcriber()
    kinds = [None, "bad", "bug", "rejected", "storage", None]
    results = await router.transcribe(
        [record(number, conditions=kind) for number, kind in enumerate(kinds)]
    )
    assert texts(results) == [
        "100 samples",
        "audio_undecodable",
        "audio_undecodable",
        "model_rejected",
        "audio_io",
        "105 samples",
    ]
    rejected = results[3]
    assert isinstance(rejected, RecordError)
    assert rejected.model == "general"


async def test_a_fault_of_ours_costs_only_the_record_that_brings_it_out(monkeypatch) -> None:
    router, _ = transcriber()
    choose = router.selector.choose

    def faulty_choose(rec: ManifestRecord, measures: Any) -> Choice:
        if rec.id == "r1":
            raise KeyError("a bug of the selection")
        return choose(rec, measures)

    def faulty_count(reference: str, heard: str) -> None:
        raise IndexError("a bug of the counting")

    monkeypatch.setattr(router.selector, "choose", faulty_choose)
    monkeypatch.setattr("serve_app.results.count_errors", faulty_count)
    results = await router.transcribe([record(0), record(1), record(2, text="a"), record(3)])
    assert texts(results) == ["100 samples", "router_fault", "router_fault", "103 samples"]
    assert router.memory.held_bytes == 0


async def test_a_model_that_fails_fails_only_its_group() -> None:
    router, models = transcriber()
    models["medical"].error = ModelError(ErrorCode.MODEL_DIED, "model medical: died")
    results = await router.transcribe([record(0), record(1, domain="medical"), record(2)])
    assert texts(results) == ["100 samples", "model_died", "102 samples"]
    assert router.memory.held_bytes == 0


async def test_the_transcript_says_what_is_known() -> None:
    router, _ = transcriber()
    rec = record(
        60,
        text="A hundred and sixty samples.",
        domain="medical",
        lang="en",
        offset=1.5,
        extra={"speaker": {"age": 7}},
    )
    [result] = await router.transcribe([rec])
    assert isinstance(result, Transcript)
    assert (result.text, result.lang, result.domain) == (rec.text, "en", "medical")
    assert result.extra == rec.extra
    assert result.offset == 1.5
    assert result.duration == 0.01
    assert result.model_path == "medical.nemo", "no folders of this machine"
    assert result.model_sha256 == "abc"
    assert (result.rule, result.rule_values) == ("domain", {"domain": "medical"})
    assert result.audio_measures["seconds"] == 0.01
    assert set(result.audio_measures) == {
        name.removeprefix("audio.") for name in MEASURES if name != SPEECH_SHARE
    }
    assert (result.word_errors, result.reference_words, result.wer) == (4, 5, 80.0)
    assert result.timings.queue_ms == 1
    assert result.timings.model_ms == 2
    assert result.timings.total_ms > 0


@pytest.mark.parametrize("text", [None, "", "..."])
async def test_no_wer_without_words_in_the_reference(text: str | None) -> None:
    router, _ = transcriber()
    [result] = await router.transcribe([record(0, text=text)])
    assert isinstance(result, Transcript)
    assert (result.wer, result.word_errors, result.reference_words) == (None, None, None)


async def test_the_next_list_is_read_while_the_models_work() -> None:
    read: list[str] = []

    def noting(rec: ManifestRecord) -> Clip:
        read.append(rec.id)
        return load(rec)

    router, models = transcriber(noting)
    models["general"].gate.clear()
    first = asyncio.create_task(router.transcribe([record(1), record(2)]))
    await until(lambda: models["general"].calls == [2])
    second = asyncio.create_task(router.transcribe([record(3), record(4)]))
    await until(lambda: len(read) == 4)
    assert not first.done()
    models["general"].gate.set()
    assert len(await first) == len(await second) == 2


async def test_reading_happens_off_the_event_loop() -> None:
    threads: set[int] = set()

    def noting(rec: ManifestRecord) -> Clip:
        threads.add(threading.get_ident())
        return load(rec)

    router, _ = transcriber(noting)
    await router.transcribe([record(number) for number in range(10)])
    assert threads
    assert threading.get_ident() not in threads


async def test_large_groups_are_sent_in_parts() -> None:
    router, models = transcriber(batch_seconds=0.1)
    records = [record(700) for _ in range(8)]  # 0.05 s each
    assert len(await router.transcribe(records)) == 8
    assert models["general"].calls == [2, 2, 2, 2]


@pytest.mark.parametrize("threads", [1, 3])
async def test_little_memory_means_small_groups_not_a_standstill(threads: int) -> None:
    clip_bytes = 4 * 1000
    router, models = transcriber(max_audio_bytes=2 * clip_bytes, threads=threads)
    lists = [
        [record(900, domain=domain) for domain in ("medical", None, None, "medical", None)]
        for _ in range(6)
    ]
    held: list[int] = []
    for model in models.values():
        answer = model._outcome

        def noting(
            clip: Clip, phrases: Phrases, answer: Callable[..., Outcome] = answer
        ) -> Outcome:
            held.append(router.memory.held_bytes)
            return answer(clip, phrases)

        model._outcome = noting  # type: ignore[method-assign]
    async with asyncio.timeout(20):
        results = await asyncio.gather(*map(router.transcribe, lists))
    assert [len(part) for part in results] == [5] * 6
    assert max(held) <= (2 + threads) * clip_bytes
    assert router.memory.held_bytes == 0


async def test_a_bug_in_a_call_is_raised_while_others_wait_for_memory(monkeypatch) -> None:
    router, models = transcriber(max_audio_bytes=8000, threads=1, batch_seconds=0.01)

    async def broken(*_: Any, **__: Any) -> Reply:
        raise ValueError("a bug of the client")

    monkeypatch.setattr(models["general"], "transcribe", broken)
    async with asyncio.timeout(5):
        with pytest.raises(ValueError, match="a bug of the client"):
            await router.transcribe([record(900 + n) for n in range(6)])
    assert router.memory.held_bytes == 0


async def test_a_cancelled_list_frees_what_it_holds() -> None:
    router, models = transcriber()
    models["general"].gate.clear()
    call = asyncio.create_task(router.transcribe([record(1), record(2)]))
    await until(lambda: models["general"].calls == [2])
    assert router.memory.held_bytes > 0
    call.cancel()
    await asyncio.wait([call])
    assert router.memory.held_bytes == 0


async def test_the_probe_names_the_models_that_do_not_answer() -> None:
    router, models = transcriber()
    assert await router.probe(5.0) == {"general": True, "medical": True}
    models["medical"].gate.clear()
    assert await router.probe(0.05) == {"general": True, "medical": False}
    models["general"].error = ModelError(ErrorCode.MODEL_UNAVAILABLE, "gone")
    assert await router.probe(0.05) == {"general": False, "medical": False}


async def test_an_empty_list_has_no_results() -> None:
    router, _ = transcriber()
    assert await router.transcribe([]) == []


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
    await until(lambda: router.calls == {"general": 0, "medical": 0, "legal": 0})
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


async def test_a_broken_plan_costs_only_the_record_that_breaks_it(monkeypatch) -> None:
    router, _ = planned(ENSEMBLE)
    course = router.planner.course

    def faulty(target: str, rec: ManifestRecord) -> Course:
        if rec.id == "r1":

            def breaks() -> Course:
                yield Ask(("general",))
                raise KeyError("a bug of the plan")

            return breaks()
        return course(target, rec)

    monkeypatch.setattr(router.planner, "course", faulty)
    results = await router.transcribe([record(0), record(1), record(2)])
    assert texts(results) == ["100 samples", "router_fault", "102 samples"]
    assert router.memory.held_bytes == 0


async def test_a_bug_in_a_call_is_raised_and_nothing_hangs(monkeypatch) -> None:
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
    assert models["medical"].phrases == [("bilirubin", "jane doe"), ()]
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
    how = How(target="medical", words=True, interactive=True)
    [result] = await router.transcribe([record(0)], clips=[clip], how=how)
    assert isinstance(result, Transcript)
    assert (result.pred_text, result.rule) == ("4000 samples", "requested")
    assert (result.selected_model, result.plan) == ("medical", None)
    assert models["medical"].interactive
    assert models["general"].calls == []
    assert router.memory.held_bytes == 0
