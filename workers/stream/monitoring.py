"""What a worker that is a process of its own shows: a port for probes and metrics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource

from schemas.settings import Settings
from serve_app.telemetry.otel import OtelInstruments
from serve_app.telemetry.tracing import collector_named, send_spans
from workers.stream.meter import metered
from workers.stream.status_server import StatusServer
from workers.stream.worker import StreamWorker

_SERVICE = "chorus-stream"
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
    name = f"{settings.kafka.group}-{instance}"
    end_spans = send_spans(_SERVICE, name)
    about = {SERVICE_NAME: _SERVICE, SERVICE_INSTANCE_ID: name}
    instruments = OtelInstruments(Resource.create(about))
    try:
        with metered(worker, instruments) as meter:
            if status is None:
                yield None
                return

            def text() -> bytes:
                meter.look()
                return instruments.text()

            says = _Says(worker)
            server = StatusServer(
                status.host, status.port, live=says.live, ready=says.ready, metrics=text
            )
            with closing(server):
                yield server.port
    finally:
        end_spans()
        instruments.close()


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
