from __future__ import annotations

import pytest

from schemas.failures import ErrorCode, RecordError
from schemas.manifest import ManifestRecord
from schemas.metrics import Latency
from tests.workers.stream.support import a_work, transcript_of
from workers.stream.metrics import aggregate
from workers.stream.work import Work


def finished(id_: str, milliseconds: float, domain: str | None = None, **fields) -> Work:
    work = a_work(id_)
    work.record = ManifestRecord(id=id_, audio_filepath="a.wav", domain=domain)
    work.message.timestamp = 1_000
    work.finished = (1_000 + milliseconds) / 1e3
    work.outcome = transcript_of(work.record, **fields)
    work.attempts = 1
    return work


def dead(id_: str, model: str | None = None) -> Work:
    work = a_work(id_)
    work.outcome = RecordError(id=id_, code=ErrorCode.AUDIO_MISSING, message="", model=model)
    return work


def test_one_event_per_model_and_domain():
    works = [
        finished("a", 1, domain="medical"),
        finished("b", 1),
        finished("c", 1, domain="medical"),
        dead("d"),
        dead("e", model="general"),
    ]
    events = aggregate("w", 10.0, 11.0, works)
    found = {(e.model, e.domain): (e.records, e.dead_letters) for e in events}
    assert found == {
        ("general", "medical"): (2, 0),
        ("general", ""): (1, 1),
        ("", ""): (0, 1),
    }
    assert all((e.worker, e.interval_start, e.interval_end) == ("w", 10.0, 11.0) for e in events)


def test_sums_rates_and_latencies():
    works = [finished(str(n), n) for n in range(1, 101)]
    works[0].attempts = 4
    (event,) = aggregate("w", 0.0, 1.0, works)
    assert (event.records, event.retries) == (100, 3)
    assert event.audio_seconds == pytest.approx(200.0)
    assert event.model_seconds == pytest.approx(2.0)
    assert event.rtfx == pytest.approx(100.0)
    assert event.latency is not None
    rounded = Latency(
        p50_ms=round(event.latency.p50_ms, 6),
        p95_ms=round(event.latency.p95_ms, 6),
        max_ms=round(event.latency.max_ms, 6),
        sum_ms=round(event.latency.sum_ms, 6),
    )
    assert rounded == Latency(p50_ms=50.0, p95_ms=95.0, max_ms=100.0, sum_ms=5050.0)


def test_wer_is_pooled_over_records_with_a_reference():
    works = [
        finished("a", 1, word_errors=1, reference_words=10),
        finished("b", 1, word_errors=3, reference_words=30),
        finished("c", 1),
        finished("d", 1, word_errors=0, reference_words=0),
    ]
    (event,) = aggregate("w", 0.0, 1.0, works)
    assert (event.word_errors, event.reference_words, event.references) == (4, 40, 2)
    assert event.wer == pytest.approx(10.0)


def test_only_dead_letters():
    (event,) = aggregate("w", 0.0, 1.0, [dead("a")])
    assert (event.records, event.dead_letters, event.retries) == (0, 1, 0)
    assert (event.rtfx, event.latency, event.wer) == (None, None, None)


def test_a_clock_behind_the_brokers_makes_no_negative_latency():
    (event,) = aggregate("w", 0.0, 1.0, [finished("a", -500)])
    assert event.latency is not None
    assert event.latency.sum_ms == 0.0


def test_nothing_makes_no_event():
    assert aggregate("w", 0.0, 1.0, []) == []
