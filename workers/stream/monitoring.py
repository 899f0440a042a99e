"""What a worker that is a process of its own shows: a port for probes and metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from schemas.settings import Settings
from serve_app.telemetry import definitions as defined
from serve_app.telemetry.definitions import Metric
from workers.stream.circuit_breaker import BreakerState
from workers.stream.status_server import StatusServer
from workers.stream.telemetry import StreamMetrics, collector_named
from workers.stream.worker import Stats, StreamWorker

#: A loop that has not turned for this long is stuck.
_LIVE_S = 60.0


@contextmanager
def monitored(worker: StreamWorker, instance: str, settings: Settings) -> Iterator[int | None]:
    """Measure a worker while the block runs, and serve what is found.

    Nothing is measured where nobody would see it: without `stream.status`, and without a collector
    in the environment.

    Args:
        worker: not yet running.
        instance: its name.
        settings: checked settings.

    Yields:
        The port that is listened on; None without.

    Raises:
        SettingsError: it cannot listen there.
    """
    status = settings.stream.status
    if status is None and not collector_named():
        yield None
        return
    metrics = StreamMetrics(instance, settings.kafka.group)
    worker.on_commit(metrics.count)
    for metric, value in _LOOKS.items():
        metrics.look_at(metric, partial(_look, worker, value))
    try:
        if status is None:
            yield None
            return
        says = _Says(worker)
        server = StatusServer(
            status.host, status.port, live=says.live, ready=says.ready, metrics=metrics.text
        )
        try:
            yield server.port
        finally:
            server.close()
    finally:
        metrics.close()


def _look(worker: StreamWorker, value: Callable[[Stats], float | None]) -> float | None:
    return value(worker.stats())


class _Says:
    """What a worker says of itself to probes."""

    def __init__(self, worker: StreamWorker) -> None:
        self._worker = worker

    def live(self) -> tuple[bool, dict[str, Any]]:
        age = self._worker.heartbeat_age_s
        return age < _LIVE_S, {"live": age < _LIVE_S, "heartbeat_age_s": round(age, 1)}

    def ready(self) -> tuple[bool, dict[str, Any]]:
        stats, ready = self._worker.stats(), self._worker.ready
        return ready, {
            "ready": ready,
            "instance": stats.instance,
            "partitions": stats.partitions,
            "breaker": stats.breaker,
            "pending": stats.pending,
            "lag": stats.lag,
        }


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
