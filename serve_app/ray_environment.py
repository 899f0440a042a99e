"""What Ray is told through the environment.

Ray reads these variables when it is imported, so `serve_app` sets them when it is. Variables that
are set already win. On a cluster that runs already, set them where its nodes are started.
"""

from __future__ import annotations

import os

ENVIRONMENT = {
    # A call costs half the CPU: no thread and no loop of its own for user code and routing.
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # Part of the above that we have no use for: it opens an HTTP port for each replica.
    "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0",
    # A replica that failed its health check is not asked to finish its calls: it cannot.
    "RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS": "1",
    # A request whose replica died is answered with 503, not with a bare 500.
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serve_app.http.proxy.middlewares",
    # Models are the work of this machine, not something in its background.
    "RAY_worker_niceness": "0",
    # No idle workers, one per core, before any is asked for.
    "RAY_prestart_worker_first_driver": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray's own metrics, for a dashboard that a cluster of ours does not have.
    "RAY_enable_metrics_collection": "0",
    # Serve looks after its replicas ten times a second, at 3% of a core whether idle or not.
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.3",
}


def apply() -> None:
    """Set the variables that are not set."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
