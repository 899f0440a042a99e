"""What is measured of a stream worker: counted at its commits, and looked at now and then."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from schemas.transcript import Transcript
from serve_app.telemetry import definitions as defined
from serve_app.telemetry.definitions import Metric
from serve_app.telemetry.instruments import Instruments
from workers.quality.gauges import Gauge
from workers.stream.circuit_breaker import BreakerState
from workers.stream.metrics_events import latency_ms
from workers.stream.pending_record import PendingRecord
from workers.stream.worker import Stats, StreamWorker

log = logging.getLogger(__name__)

#: Seconds between two looks, unless somebody asks.
_LOOK_S = 5.0


class StreamMeter:
    """Measures one worker.

    Args:
        worker: that is measured.
        instruments: of the process.
    """

    def __init__(self, worker: StreamWorker, instruments: Instruments) -> None:
        self._worker = worker
        self._instruments = instruments
        self._told: dict[Metric, float] = {}
        self._looking = threading.Lock()

    def count(self, records: Sequence[PendingRecord]) -> None:
        """Count what has been committed."""
        totals: Counter[tuple[Metric, str]] = Counter()
        for record in records:
            outcome = record.outcome
            if isinstance(outcome, Transcript):
                model = outcome.selected_model
                totals[defined.RECORDS, model] += 1
                totals[defined.AUDIO, model] += outcome.transcribed_seconds  # type: ignore[assignment]
                totals[defined.MODEL_TIME, model] += outcome.timings.model_ms / 1e3  # type: ignore[assignment]
                if outcome.reference_words is not None:
                    totals[defined.WORD_ERRORS, model] += outcome.word_errors or 0
                    totals[defined.REFERENCE_WORDS, model] += outcome.reference_words
                if (waited := latency_ms(record)) is not None:
                    self._instruments.observe(defined.LATENCY, waited / 1e3)
            elif outcome is not None:
                totals[defined.DEAD_LETTERS, outcome.code] += 1
        for (metric, label), value in totals.items():
            self._instruments.add(metric, value, label)

    def show(self, gauges: Iterable[Gauge]) -> None:
        """Show what is said of the quality of transcripts."""
        for metric, labels, value in gauges:
            self._instruments.set(metric, value, *labels)

    def look(self) -> None:
        """Look at the worker once."""
        stats = self._worker.stats()
        with self._looking:
            for metric, value in _LOOKS.items():
                found = value(stats)
                if metric.kind == "gauge":
                    self._set(metric, found)
                elif found is not None:
                    self._instruments.add(metric, found - self._told.get(metric, 0))
                    self._told[metric] = found

    def _set(self, metric: Metric, value: float | None) -> None:
        """Set a gauge; what is not known any more, as the lag by another worker, becomes 0."""
        if value is not None:
            self._told[metric] = value
            self._instruments.set(metric, float(value))
        elif self._told.pop(metric, None) is not None:
            self._instruments.set(metric, 0.0)


@contextmanager
def metered(worker: StreamWorker, instruments: Instruments) -> Iterator[StreamMeter]:
    """Measure a worker while the block runs.

    Args:
        worker: not yet running.
        instruments: of the process.
    """
    meter, ended = StreamMeter(worker, instruments), threading.Event()
    worker.on_commit(meter.count)
    worker.on_quality(meter.show)

    def keep_looking() -> None:
        while not ended.wait(_LOOK_S):
            try:
                meter.look()
            except Exception as error:  # it must not end the measuring for ever
                log.warning("the worker cannot be looked at: %s", type(error).__name__)

    threading.Thread(target=keep_looking, name="stream-meter", daemon=True).start()
    try:
        yield meter
    finally:
        ended.set()


def _lag_audio(stats: Stats) -> float | None:
    if stats.lag is None or not stats.transcribed:
        return None
    return stats.lag * stats.audio_s / stats.transcribed


_LOOKS: dict[Metric, Callable[[Stats], float | None]] = {
    defined.RETRIES: lambda stats: stats.retries,
    defined.COMMITS: lambda stats: stats.commits,
    defined.RECOVERIES: lambda stats: stats.recoveries,
    defined.LOG_CHANGES: lambda stats: stats.log_changes,
    defined.LOST: lambda stats: stats.lost,
    defined.PARTITIONS: lambda stats: stats.partitions,
    defined.PAUSED: lambda stats: stats.paused,
    defined.PENDING: lambda stats: stats.pending,
    defined.PENDING_BYTES: lambda stats: stats.pending_bytes,
    defined.OLDEST: lambda stats: stats.oldest_s,
    defined.CALLS: lambda stats: stats.in_flight,
    defined.BREAKER: lambda stats: stats.breaker != BreakerState.CLOSED.value,
    defined.HEARTBEAT: lambda stats: stats.heartbeat_age_s,
    defined.LAG: lambda stats: stats.lag,
    defined.LAG_AUDIO: _lag_audio,
}
