"""The metrics events of one commit: sums over exactly the records that it commits."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from schemas.failures import RecordError
from schemas.metrics import Latency, MetricsEvent
from schemas.transcript import Transcript
from workers.stream.work import Work


def aggregate(worker: str, start: float, end: float, works: Iterable[Work]) -> list[MetricsEvent]:
    """One event per (model, domain) among `works`, all of which have an outcome.

    Args:
        worker: name of this instance.
        start, end: Unix times in seconds of the previous commit and of this one.
    """
    groups: dict[tuple[str, str], list[Work]] = defaultdict(list)
    for work in works:
        groups[_key(work)].append(work)
    return [
        _event(worker, start, end, model, domain, group)
        for (model, domain), group in sorted(groups.items())
    ]


def _key(work: Work) -> tuple[str, str]:
    domain = (work.record.domain if work.record else None) or ""
    if isinstance(work.outcome, Transcript):
        return work.outcome.selected_model, domain
    if isinstance(work.outcome, RecordError):
        return work.outcome.model or "", domain
    raise ValueError(f"{work.name} has no outcome")


def _event(
    worker: str, start: float, end: float, model: str, domain: str, works: list[Work]
) -> MetricsEvent:
    done = [
        (work.outcome, max(0.0, work.finished * 1e3 - work.message.timestamp))
        for work in works
        if isinstance(work.outcome, Transcript)
    ]
    audio_s = sum(transcript.duration for transcript, _ in done)
    model_s = sum(transcript.timings.model_ms for transcript, _ in done) / 1e3
    scored = [transcript for transcript, _ in done if transcript.reference_words]
    errors = sum(transcript.word_errors or 0 for transcript in scored)
    words = sum(transcript.reference_words or 0 for transcript in scored)
    return MetricsEvent(
        worker=worker,
        interval_start=start,
        interval_end=end,
        model=model,
        domain=domain,
        records=len(done),
        dead_letters=len(works) - len(done),
        retries=sum(max(0, work.attempts - 1) for work in works),
        audio_seconds=audio_s,
        model_seconds=model_s,
        rtfx=audio_s / model_s if model_s > 0 else None,
        latency=_latency([milliseconds for _, milliseconds in done]),
        word_errors=errors,
        reference_words=words,
        references=len(scored),
        wer=100.0 * errors / words if words else None,
    )


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
