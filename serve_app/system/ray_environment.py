"""The environment variables that configure Ray.

Ray reads them when it is imported, so `ray_adapter` sets them before. Variables that are already
set are kept. For an existing cluster, set them where its nodes are started.
"""

from __future__ import annotations

import os

ENVIRONMENT = {
    # Halves the CPU of a call: user code and routing get no separate thread and event loop.
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # Part of the above that does harm: of a thousand messages in the logs, none is written.
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",
    # Part of the above that is not needed: it opens an HTTP port for each replica.
    "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0",
    # A replica that failed its health check cannot finish its calls: stop it at once.
    "RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS": "1",
    # Answers a request whose replica died with 503 instead of a bare 500.
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serve_app.http.proxy.middlewares",
    # Models are the main work of the machine, not background work.
    "RAY_worker_niceness": "0",
    # No idle workers, one per core, before they are needed.
    "RAY_prestart_worker_first_driver": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray's own metrics are many, and its agent serves them to anyone who reaches the machine.
    "RAY_enable_metrics_collection": "0",
    # Ray's memory monitor kills Serve's controller first and the newest replicas next, whoever took
    # the memory, and again when they are back. The kernel kills the largest replica.
    "RAY_memory_monitor_refresh_ms": "0",
    # The default of ten control loops per second takes 3% of a core even when idle.
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.3",
    # Nor need each replica set Serve's own gauges ten times per second.
    "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "1000",
}


#: The group of the notes (`ray_notes.put_note`) that tell deployments of an application apart.
DEPLOYED_NOTES = "deployed"


def worker_notes(app: str) -> str:
    """The group of the notes (`ray_notes.put_note`) that say why stream workers do not run.

    Args:
        app: `serve.app` of the settings.
    """
    return f"{app}-worker-faults"


def rollout_notes(app: str) -> str:
    """The group of the notes that tell the Router of an application which candidates get speech.

    Args:
        app: `serve.app` of the settings.
    """
    return f"{app}-rollouts"


def replica_notes(app: str) -> str:
    """The group of the notes in which each replica of a model says what it serves.

    Args:
        app: `serve.app` of the settings.
    """
    return f"{app}-replicas"


#: Name of the environment variable with the largest HTTP body in bytes, for `serve_app.http.proxy`:
#: Serve passes no settings to a middleware of its proxy.
MAX_BODY_VARIABLE = "CHORUS_HTTP_MAX_BODY_BYTES"
#: Likewise, with the origins of web pages that may call, between spaces.
ORIGINS_VARIABLE = "CHORUS_HTTP_ALLOWED_ORIGINS"


#: Whether the nodes of a cluster serve Ray's metrics.
COLLECTION = "RAY_enable_metrics_collection"


def collects_metrics() -> bool:
    """Whether the nodes of the cluster that this process belongs to serve Ray's metrics."""
    return os.environ.get(COLLECTION) == "1"


def apply() -> None:
    """Set those of the variables that are not set."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
