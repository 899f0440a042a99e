"""Languages that a model identifies before the rules are applied."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from schemas.failures import ErrorCode
from schemas.manifest import ManifestRecord
from schemas.requests import CallOptions, ClipRequest
from schemas.settings import Condition, ModelSettings, Rule
from schemas.transcript import Transcript, decode_transcript, encode_transcript
from serve_app.audio.clip import SAMPLE_RATE, Clip, Recording
from serve_app.engines.base import Hypothesis, Language, Rejection
from serve_app.model.protocol import ModelError, Outcome, Reply
from serve_app.router.transcriber import Transcriber
from tests.serve_app.router.fake_models import FakeModel, load, record, settings
from tests.waiting import until

GERMAN = Rule(
    name="german",
    model="german",
    all=[
        Condition(field="audio.lang", equals="de"),
        Condition(field="audio.lang_confidence", at_least=0.5),
    ],
)


class Listener(FakeModel):
    """Hears German in clips of an even length, nothing in those of 105 samples, else French."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[list[int]] = []

    async def transcribe(
        self, clips: Sequence[Clip], sample_rate: int, requests: Sequence[ClipRequest] = ()
    ) -> Reply:
        if not requests or not requests[0].identify:
            return await super().transcribe(clips, sample_rate, requests)
        self.heard.append([len(clip) for clip in clips])
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return Reply([self._language(clip) for clip in clips], sha256="abc")

    def _language(self, clip: Clip) -> Outcome:
        if clip[0] == 1.0:
            refused = Rejection(code=ErrorCode.MODEL_FAULT, message="no")
            return Outcome(refused, queue_ms=3, model_ms=4)
        found = Language("fr" if len(clip) % 2 else "de", 0.9)
        language = None if len(clip) == 105 else found
        return Outcome(Hypothesis(text="", language=language), queue_ms=3, model_ms=4)


def router(
    rules: Sequence[Rule] = (GERMAN,), timeout_s: float = 30.0
) -> tuple[Transcriber, Listener]:
    base = settings()
    names = ("german", "listener")
    given = msgspec.structs.replace(
        base,
        models={**base.models, **{name: ModelSettings(path=f"/{name}.nemo") for name in names}},
        routing=msgspec.structs.replace(
            base.routing,
            rules=[*base.routing.rules, *rules],
            language_model="listener",
            language_timeout_s=timeout_s,
        ),
    )
    listener = Listener()
    models = {name: FakeModel() for name in given.models} | {"listener": listener}
    return Transcriber(given, models, load), listener


async def transcribe(transcriber: Transcriber, *records: ManifestRecord) -> list[Transcript]:
    found = await transcriber.transcribe(records)
    assert transcriber.memory.held_bytes == 0
    return [each for each in found if isinstance(each, Transcript)]


async def test_records_whose_rules_depend_on_the_language_are_asked_for_together() -> None:
    transcriber, listener = router()
    records = [
        record(0),
        record(1),
        record(2, domain="medical"),  # an earlier rule decides
        record(3, lang="de-AT"),  # says it itself
        record(4, lang="en"),
        record(5),
        record(6),
    ]
    found = await transcribe(transcriber, *records)
    assert list(map(sorted, listener.heard)) == [[100, 101, 105, 106]], "one call, in any order"
    models = [each.selected_model for each in found]
    assert models == ["german", "general", "medical", "german", "general", "general", "german"]
    assert found[0].audio_measures["lang"] == "de"
    assert found[0].audio_measures["lang_confidence"] == 0.9
    assert found[0].rule_values == {"audio.lang": "de", "audio.lang_confidence": 0.9}
    assert (found[0].timings.queue_ms, found[0].timings.model_ms) == (3, 6)
    assert decode_transcript(encode_transcript(found[0])) == found[0]
    assert found[1].audio_measures["lang"] == "fr"
    assert found[3].rule_values == {"audio.lang": "de", "audio.lang_confidence": 1.0}
    for silent in (*found[2:5], found[5]):
        assert "lang" not in silent.audio_measures, "not measured"
    assert all(each.failed_models is None for each in found)


async def test_a_caller_who_names_the_model_asks_for_no_language() -> None:
    transcriber, listener = router()
    [found] = await transcriber.transcribe([record(0)], options=CallOptions(target="general"))
    assert isinstance(found, Transcript)
    assert (found.selected_model, listener.heard) == ("general", [])


async def test_only_the_beginning_of_a_long_clip_is_listened_to() -> None:
    transcriber, listener = router()
    clip = np.zeros(31 * SAMPLE_RATE, np.float32)
    [found] = await transcriber.transcribe([record(0)], clips=[Recording(clip)])
    assert isinstance(found, Transcript)
    assert listener.heard == [[30 * SAMPLE_RATE]]
    assert found.duration == 31
    assert transcriber.memory.held_bytes == 0


@pytest.mark.parametrize("code", [ErrorCode.MODEL_UNAVAILABLE, ErrorCode.MODEL_DIED])
async def test_without_an_answer_the_language_is_unknown_and_no_record_is_lost(
    code: ErrorCode,
) -> None:
    german = Rule(name="no-language", model="medical", all=[_present(False)])
    transcriber, listener = router([GERMAN, german])
    listener.error = ModelError(code, "model listener: away")
    found = await transcribe(transcriber, record(0), record(1))
    assert [each.rule for each in found] == ["no-language"] * 2
    assert [each.failed_models for each in found] == [{"listener": code.value}] * 2


async def test_a_clip_that_the_model_fails_on_is_the_only_one_without_a_language() -> None:
    transcriber, _ = router()
    found = await transcriber.transcribe([record(0, conditions="rejected"), record(2)])
    assert [getattr(each, "model", None) for each in found] == ["general", None]
    assert transcriber.memory.held_bytes == 0


async def test_a_slow_answer_is_not_waited_for() -> None:
    transcriber, listener = router(timeout_s=0.01)
    listener.gate.clear()
    [found] = await transcribe(transcriber, record(0))
    assert found.rule == "default"
    assert found.failed_models == {"listener": "model_timeout"}


async def test_giving_up_frees_what_waits_for_its_language() -> None:
    transcriber, listener = router()
    listener.gate.clear()
    call = asyncio.create_task(transcriber.transcribe([record(0), record(1, domain="medical")]))
    await until(lambda: bool(listener.heard))
    assert transcriber.memory.held_bytes > 0
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert transcriber.memory.held_bytes == 0


async def test_a_fault_of_ours_after_the_answer_costs_only_its_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    transcriber, _ = router()
    choose = transcriber.state.selector.choose

    def faulty(rec: ManifestRecord, measures: dict[str, float | str]) -> object:
        if rec.id == "r0":
            raise KeyError("a bug of the selection")
        return choose(rec, measures)

    monkeypatch.setattr(transcriber.state.selector, "choose", faulty)
    results = await transcriber.transcribe([record(0), record(2)])
    assert [getattr(each, "code", None) for each in results] == [ErrorCode.ROUTER_FAULT, None]
    assert transcriber.memory.held_bytes == 0


def _present(value: bool) -> Condition:
    return Condition(field="audio.lang", present=value)
