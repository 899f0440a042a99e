"""The metrics events of one commit: sums over exactly the records that it commits."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from schemas.failures import RecordError
from schemas.metrics import Latency, MetricsEvent
from schemas.transcript import Transcript
from workers.stream.pending_record import PendingRecord

#: Clocks that agree within this are in order.
_CLOCK_SKEW_MS = 5_000.0
#: No record waits for longer than a year; its timestamp is wrong.
_OLDEST_MS = 366 * 86_400e3


def aggregate(
    worker: str, start: float, end: float, records: Iterable[PendingRecord]
) -> list[MetricsEvent]:
    """One event per (model, domain) among `records`, all of which have an outcome.

    Args:
        worker: name of this instance.
        start: Unix time in seconds of the previous commit.
        end: Unix time in seconds of this commit.
        records: with an outcome each.
    """
    groups: dict[tuple[str, str], list[PendingRecord]] = defaultdict(list)
    for record in records:
        groups[_key(record)].append(record)
    return [
        _event(worker, start, end, model, domain, group)
        for (model, domain), group in sorted(groups.items())
    ]


def _key(record: PendingRecord) -> tuple[str, str]:
    domain = (record.manifest.domain if record.manifest else None) or ""
    if isinstance(record.outcome, Transcript):
        return record.outcome.selected_model, domain
    if isinstance(record.outcome, RecordError):
        return record.outcome.model or "", domain
    raise ValueError(f"{record.name} has no outcome")


def _event(
    worker: str, start: float, end: float, model: str, domain: str, records: list[PendingRecord]
) -> MetricsEvent:
    done = [record.outcome for record in records if isinstance(record.outcome, Transcript)]
    waited = [latency_ms(record) for record in records if isinstance(record.outcome, Transcript)]
    known = [milliseconds for milliseconds in waited if milliseconds is not None]
    audio_s = sum(transcript.transcribed_seconds for transcript in done)
    model_s = sum(transcript.timings.model_ms for transcript in done) / 1e3
    scored = [transcript for transcript in done if transcript.reference_words is not None]
    errors = sum(transcript.word_errors or 0 for transcript in scored)
    words = sum(transcript.reference_words or 0 for transcript in scored)
    return MetricsEvent(
        worker=worker,
        interval_start=start,
        interval_end=end,
        model=model,
        domain=domain,
        records=len(done),
        dead_letters=len(records) - len(done),
        retries=sum(max(0, record.attempts - 1) for record in records),
        audio_seconds=audio_s,
        model_seconds=model_s,
        rtfx=audio_s / model_s if model_s > 0 else None,
        latency=_latency(known),
        untimed=len(waited) - len(known),
        word_errors=errors,
        reference_words=words,
        references=sum(1 for transcript in scored if transcript.reference_words),
        wer=100.0 * errors / words if words else None,
    )


def latency_ms(record: PendingRecord) -> float | None:
    """From the record's timestamp to its result; None where that cannot be, and says nothing.

    Two clocks are compared, the producer's (or the broker's) and this machine's.
    """
    milliseconds: float = record.finished * 1e3 - record.message.timestamp
    if record.message.timestamp <= 0 or not -_CLOCK_SKEW_MS <= milliseconds <= _OLDEST_MS:
        return None
    return max(0.0, milliseconds)


def _latency(milliseconds: list[float]) -> Latency | None:
    if not milliseconds:
        return None
    ordered = sorted(milliseconds)
    return Latency(
        p50_ms=_percentile(ordered, 50),
        p95_ms=_percentile(ordered, 95),
        max_ms=ordered[-1],
        sum_ms=sum(ordered),
    )


def _percentile(ordered: Sequence[float], percent: float) -> float:
    """Nearest-rank percentile of a sorted, non-empty sequence."""
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]
