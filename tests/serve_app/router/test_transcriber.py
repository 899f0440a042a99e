"""The transcriber: reading, grouping, memory, and what goes wrong."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from schemas.failures import ErrorCode, RecordError
from schemas.manifest import ManifestRecord
from schemas.requests import CallOptions
from schemas.settings import (
    LANGUAGE_MEASURES,
    MEASURES,
    SPEECH_SHARE,
)
from schemas.transcript import Transcript, encode_transcript
from serve_app.audio.clip import SAMPLE_RATE, SIMILARITY, Clip, Recording
from serve_app.model.protocol import ModelError, Outcome, Reply
from serve_app.routing.rules import Choice
from tests.serve_app.router.fake_models import load, record, texts, transcriber
from tests.waiting import until


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


@pytest.mark.parametrize(("replicas", "calls"), [(1, [2, 18]), (3, [2, 2, 2, 2, 2, 10])])
async def test_a_list_is_cut_for_the_replicas_that_are_idle(
    replicas: int, calls: list[int]
) -> None:
    def load_second(_: ManifestRecord) -> Recording:
        return Recording(np.zeros(SAMPLE_RATE, np.float32))

    router, models = transcriber(load_second, batch_seconds=2.0)
    models["general"].replicas = replicas
    models["general"].gate.clear()
    asked = asyncio.create_task(router.transcribe([record(number) for number in range(20)]))
    await until(lambda: sum(models["general"].calls) == 20)
    models["general"].gate.set()
    await asked
    assert models["general"].calls == calls


async def test_it_is_counted_what_streams_ask_of_each_model() -> None:
    router, models = transcriber()
    options = CallOptions(group="g")
    domains = ["medical", None, None, None]
    records = [record(15_900, domain=domain) for domain in domains]
    broken = record(1, conditions="bad")
    assert router.state.demand.audio_s("g") is None
    await router.transcribe(records)  # of no stream
    assert router.state.demand.audio_s("g") is None
    await router.transcribe([*records, broken], options=options)
    assert router.state.demand.audio_s("g") == {"general": 3 / 5, "medical": 1 / 5}
    assert all(each.streamed for each in models["general"].requests)
    for _ in range(40):  # what is long ago weighs less
        await router.transcribe([records[0]] * 200, options=options)
    found = router.state.demand.audio_s("g")
    assert found is not None
    assert found["medical"] > 0.99


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


async def test_a_fault_of_ours_costs_only_the_record_that_brings_it_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    router, _ = transcriber()
    choose = router.state.selector.choose

    def faulty_choose(rec: ManifestRecord, measures: Any) -> Choice:
        if rec.id == "r1":
            raise KeyError("a bug of the selection")
        return choose(rec, measures)

    def faulty_count(reference: str, heard: str) -> None:
        raise IndexError("a bug of the counting")

    monkeypatch.setattr(router.state.selector, "choose", faulty_choose)
    monkeypatch.setattr("serve_app.router.results.count_errors", faulty_count)
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
        name.removeprefix("audio.")
        for name in MEASURES.keys() - LANGUAGE_MEASURES - {SPEECH_SHARE, SIMILARITY}
    }
    assert (result.word_errors, result.reference_words, result.wer) == (4, 5, 80.0)
    assert result.timings.queue_ms == 1
    assert result.timings.model_ms == 2
    assert result.timings.total_ms > 0


@pytest.mark.parametrize(("text", "counts"), [(None, (None, None)), ("", (2, 0)), ("...", (2, 0))])
async def test_words_where_nothing_is_said_are_errors_without_a_rate(
    text: str | None, counts: tuple[int | None, int | None]
) -> None:
    router, _ = transcriber()
    [result] = await router.transcribe([record(0, text=text)])
    assert isinstance(result, Transcript)
    assert result.wer is None
    assert (result.word_errors, result.reference_words) == counts


async def test_texts_of_earlier_work_are_not_kept() -> None:
    router, _ = transcriber()
    old = {"pred_text_general": "old", "pred_text_mine": "kept", "processing_error": "old"}
    [result] = await router.transcribe([record(0, extra=old)])
    assert isinstance(result, Transcript)
    written = json.loads(encode_transcript(result))
    assert written["pred_text_mine"] == "kept"
    assert not {"pred_text_general", "processing_error"} & written.keys()


async def test_the_next_list_is_read_while_the_models_work() -> None:
    read: list[str] = []

    def noting(rec: ManifestRecord) -> Recording:
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

    def noting(rec: ManifestRecord) -> Recording:
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
async def test_little_memory_means_small_groups_not_a_standstill(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
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
            clip: Clip, phrases: tuple[str, ...], answer: Callable[..., Outcome] = answer
        ) -> Outcome:
            held.append(router.memory.held_bytes)
            return answer(clip, phrases)

        monkeypatch.setattr(model, "_outcome", noting)
    async with asyncio.timeout(20):
        results = await asyncio.gather(*map(router.transcribe, lists))
    assert [len(part) for part in results] == [5] * 6
    assert max(held) <= (2 + threads) * clip_bytes
    assert router.memory.held_bytes == 0


async def test_a_bug_in_a_call_is_raised_while_others_wait_for_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
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
    assert await router.probe(["general", "medical"], 5.0) == {"general": True, "medical": True}
    models["medical"].gate.clear()
    assert await router.probe(["general", "medical"], 0.05) == {"general": True, "medical": False}
    models["general"].error = ModelError(ErrorCode.MODEL_UNAVAILABLE, "gone")
    assert await router.probe(["general", "medical"], 0.05) == {"general": False, "medical": False}


async def test_an_empty_list_has_no_results() -> None:
    router, _ = transcriber()
    assert await router.transcribe([]) == []
