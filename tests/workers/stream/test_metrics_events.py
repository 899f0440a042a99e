from __future__ import annotations

from typing import Any

import pytest

from schemas.failures import ErrorCode, RecordError
from schemas.manifest import ManifestRecord
from schemas.metrics import Latency
from tests.workers.stream.support import a_pending_record, transcript_of
from workers.stream.metrics_events import aggregate
from workers.stream.pending_record import PendingRecord


def finished(
    id_: str, milliseconds: float, domain: str | None = None, **fields: Any
) -> PendingRecord:
    record = a_pending_record(id_)
    record.manifest = ManifestRecord(id=id_, audio_filepath="a.wav", domain=domain)
    record.message.timestamp = 1_000
    record.finished = (1_000 + milliseconds) / 1e3
    record.outcome = transcript_of(record.manifest, **fields)
    record.attempts = 1
    return record


def dead(id_: str, model: str | None = None) -> PendingRecord:
    record = a_pending_record(id_)
    record.outcome = RecordError(id=id_, code=ErrorCode.AUDIO_MISSING, message="", model=model)
    return record


def test_one_event_per_model_and_domain() -> None:
    records = [
        finished("a", 1, domain="medical"),
        finished("b", 1),
        finished("c", 1, domain="medical"),
        dead("d"),
        dead("e", model="general"),
    ]
    events = aggregate("w", 10.0, 11.0, records)
    found = {(e.model, e.domain): (e.records, e.dead_letters) for e in events}
    assert found == {
        ("general", "medical"): (2, 0),
        ("general", ""): (1, 1),
        ("", ""): (0, 1),
    }
    assert all((e.worker, e.interval_start, e.interval_end) == ("w", 10.0, 11.0) for e in events)


def test_sums_rates_and_latencies() -> None:
    records = [finished(str(n), n) for n in range(1, 101)]
    records[0].attempts = 4
    (event,) = aggregate("w", 0.0, 1.0, records)
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


def test_wer_is_pooled_over_records_with_a_reference() -> None:
    records = [
        finished("a", 1, word_errors=1, reference_words=10),
        finished("b", 1, word_errors=3, reference_words=30),
        finished("c", 1),
        finished("d", 1, word_errors=2, reference_words=0),  # words heard where nothing is said
    ]
    (event,) = aggregate("w", 0.0, 1.0, records)
    assert (event.word_errors, event.reference_words, event.references) == (6, 40, 2)
    assert event.wer == pytest.approx(15.0)
    (event,) = aggregate("w", 0.0, 1.0, records[3:])
    assert (event.word_errors, event.references, event.wer) == (2, 0, None)


def test_only_dead_letters() -> None:
    (event,) = aggregate("w", 0.0, 1.0, [dead("a")])
    assert (event.records, event.dead_letters, event.retries) == (0, 1, 0)
    assert (event.rtfx, event.latency, event.wer) == (None, None, None)


def test_a_clock_behind_the_brokers_makes_no_negative_latency() -> None:
    (event,) = aggregate("w", 0.0, 1.0, [finished("a", -500)])
    assert event.latency is not None
    assert event.latency.sum_ms == 0.0


@pytest.mark.parametrize("timestamp", [-1, 0, 1, 1_800_000_000_000])
def test_a_timestamp_that_cannot_be_is_counted_apart(timestamp: int) -> None:
    records = [finished("a", 0), finished("b", 0)]
    for record, stamp in zip(records, (1_699_999_999_000, timestamp), strict=True):
        record.message.timestamp = stamp
        record.finished = 1_700_000_000.0
    (event,) = aggregate("w", 0.0, 1.0, records)
    assert event.latency == Latency(p50_ms=1_000.0, p95_ms=1_000.0, max_ms=1_000.0, sum_ms=1_000.0)
    assert (event.records, event.untimed) == (2, 1)


def test_nothing_makes_no_event() -> None:
    assert aggregate("w", 0.0, 1.0, []) == []
