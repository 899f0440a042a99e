"""The stream worker as a Serve application of its own, next to the models' application.

Apart from it, because deleting an application waits for its deployments together, and a worker
that still calls the models would hold them up. It reserves no CPU: it mostly waits.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from typing import Any

from schemas.settings import Settings, settings_digest
from serve_app.cluster.application import Running, add_application
from serve_app.cluster.readiness import StartError
from serve_app.deploy import settings_of
from serve_app.model.application import WORKER, worker_app
from serve_app.router.client import RouterClient
from serve_app.scaling.figures import BUSY
from serve_app.scaling.options import worker_replicas
from serve_app.system.log_format import serve_logging
from serve_app.system.ray_adapter import serve, use_replica_log
from serve_app.system.ray_environment import worker_notes
from serve_app.system.ray_notes import delete_note, put_note
from serve_app.telemetry.replica import replica_instruments, trace_replica
from workers import exit_codes
from workers.stream.meter import metered
from workers.stream.worker import StreamWorker

log = logging.getLogger(__name__)

#: The environment variable in which KubeRay names the cluster.
CLUSTER_NAME = "RAY_CLUSTER_NAME"
#: A loop that has not polled for this long is stuck; Serve replaces the replica.
_MAX_HEARTBEAT_AGE_S = 60.0
_HEALTH_PERIOD_S = 5.0
#: On top of `stream.drain_timeout_s`: the last transaction and closing the clients.
_CLOSING_S = 15.0


class StreamWorkerReplica:
    """One worker. Its instance name follows from the replica's rank, which a replacement keeps.

    KubeRay names each cluster in `RAY_CLUSTER_NAME`; it is in the name too, so that the workers of
    two clusters share the group during an upgrade instead of fencing each other.

    Args:
        settings: checked settings. Secrets named in them are read from the environment of the
            node that the replica runs on.
    """

    def __init__(self, settings: Settings) -> None:
        use_replica_log()
        trace_replica()
        rank = serve.get_replica_context().rank.rank
        backend = RouterClient(
            settings.serve.app, settings.stream.call_timeout_s, settings_digest(settings)
        )
        self._instance = "-".join(filter(None, (os.environ.get(CLUSTER_NAME), "serve", str(rank))))
        self._notes = worker_notes(settings.serve.app)
        self._worker = StreamWorker(settings, backend, instance=self._instance)
        self._exit_code: int | None = None
        self._calls = settings.stream.batches_in_flight
        self._closing_s = settings.stream.drain_timeout_s + _CLOSING_S
        self._thread = threading.Thread(target=self._run, name="stream-worker", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._exit_code = exit_codes.FAILURE
        with metered(self._worker, replica_instruments()):
            self._exit_code = self._worker.run()
        if self._exit_code != exit_codes.OK:
            reason = exit_codes.worker_fault(self._exit_code)
            put_note(self._notes, self._instance, f"{reason} (exit code {self._exit_code})")

    def check_health(self) -> None:
        """Raise where a new replica would help.

        A worker that stopped at a dead-letter limit stays as it is: each new one would commit
        some more of the flood. Deploy again when the cause is mended.
        """
        if self._thread.is_alive():
            age = self._worker.heartbeat_age_s
            if age > _MAX_HEARTBEAT_AGE_S:
                raise RuntimeError(f"the stream worker has not polled Kafka for {age:.0f} s")
            if self._worker.stats().partitions:  # it has joined its group
                delete_note(self._notes, self._instance)
        elif self._exit_code == exit_codes.DEAD_LETTER_LIMIT:
            log.error("the stream worker stopped at a dead-letter limit; deploy it again")
        else:
            raise RuntimeError(f"the stream worker ended with code {self._exit_code}")

    def record_autoscaling_stats(self) -> dict[str, float]:
        """What Serve asks for on behalf of `WorkerPolicy`."""
        return {BUSY: self._worker.stats().in_flight / self._calls}

    def stats(self) -> Any:
        """See `workers.stream.worker.Stats`."""
        return self._worker.stats()

    def __del__(self) -> None:
        """Serve calls this when it takes the replica down: finish, commit, close."""
        if hasattr(self, "_thread"):
            self._worker.stop()
            self._thread.join(timeout=self._closing_s)


def app_name(settings: Settings) -> str:
    """Name of the workers' Serve application."""
    return worker_app(settings.serve.app)


def build(settings: Settings) -> serve.Application:
    """The application: replicas of the worker, as many as `stream` says."""
    deployment = serve.deployment(StreamWorkerReplica).options(
        name=WORKER,
        **worker_replicas(settings),
        ray_actor_options={"num_cpus": 0},
        health_check_period_s=_HEALTH_PERIOD_S,
        logging_config=serve_logging("INFO"),
        graceful_shutdown_timeout_s=settings.stream.drain_timeout_s + _CLOSING_S,
    )
    return deployment.bind(settings)


def worker(args: Mapping[str, Any]) -> serve.Application:
    """Build the application from a Serve config; see `serve_app.deploy`."""
    return build(settings_of(args, "worker"))


def deploy_worker(running: Running, settings: Settings, *, timeout_s: float = 60.0) -> str:
    """Start the workers beside the models; returns their application's name.

    `stop` takes them down, before the models; it waits until they have committed what was in
    flight.

    Blocks until the replicas run. That Kafka answers them shows in their health a little later.

    Raises:
        StartError: they did not start in time; the message says why.
    """
    name = app_name(settings)
    try:
        add_application(running, build(settings), name, timeout_s=timeout_s)
    except StartError as error:
        raise StartError(f"the stream worker did not start: {error}") from error
    return name
