"""Start and stop the Serve application.

Importing this module is cheap; `start` imports Ray, which is not.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Any

import msgspec

from schemas.settings import HttpSettings, Settings
from serve_app import forkserver
from serve_app.http.proxy import MAX_BODY_VARIABLE

logger = logging.getLogger(__name__)

_POLL_S = 0.25
_LOGGING = {"log_level": "WARNING", "enable_access_log": False}


class StartError(RuntimeError):
    """Ray or the application did not start; the message says what and why."""


class Running(msgspec.Struct, frozen=True):
    """A started application.

    Attributes:
        address: of the Ray cluster, for `serve_app.cluster.connect` in another process.
        app: name of the Serve application.
        fork_server: what the workers of a cluster of our own come from, where they do.
        own_cluster: whether `start` started the cluster, so that `stop` ends it.
    """

    address: str
    app: str
    own_cluster: bool
    fork_server: forkserver.ForkServer | None = None


def start(
    settings: Settings,
    *,
    http: bool = False,
    timeout_s: float = 600.0,
    on_progress: Callable[[str, str], None] = lambda deployment, status: None,
) -> Running:
    """Deploy the application and wait until every model and the Router are ready.

    On the cluster that `serve.address` or the environment variable RAY_ADDRESS names; where
    neither does, on one that is started on this machine for it. What was started is stopped
    again if this fails or is interrupted.

    Args:
        settings: checked settings.
        http: whether Serve's proxy is started, for `serve_app.http`.
        timeout_s: longest wait for readiness.
        on_progress: called with a deployment's name and its status whenever that changes.

    Raises:
        StartError: Ray does not start, a deployment failed, or one was not ready in time.
        ConnectionError: there is no cluster at the given address.
    """
    address = settings.serve.address or os.environ.get("RAY_ADDRESS")
    if address is not None:
        from serve_app import cluster

        cluster.connect(address)
        running = Running(address, settings.serve.app, own_cluster=False)
    else:
        running = _start_cluster(settings)
    try:
        _deploy(settings, settings.http if http else None)
        wait_until_running(settings.serve.app, timeout_s, on_progress)
    except BaseException:
        _end(running)
        raise
    return running


def stop(running: Running) -> None:
    """Take the application down, and the cluster with it if it was started for it.

    On a cluster of our own every other application, a stream worker say, is taken down first, so
    that it ends in its own way. Idempotent; leaves no process of ours behind.
    """
    import ray
    from ray import serve

    if running.own_cluster and ray.is_initialized():
        for app in serve.status().applications:
            if app != running.app:
                _delete(app)
    _end(running)


def _end(running: Running) -> None:
    import ray

    if ray.is_initialized():
        if not running.own_cluster:
            _delete(running.app)
        ray.shutdown()  # ends every process of a cluster of our own at once
    if running.fork_server is not None:
        running.fork_server.stop()


def _delete(app: str) -> None:
    from ray import serve

    try:
        serve.delete(app)
    except TimeoutError:
        logger.warning("application %s does not end in time", app)


def _start_cluster(settings: Settings) -> Running:
    if settings.http is not None:
        # assigned, for on a cluster of our own the settings decide, not what is left of another
        os.environ[MAX_BODY_VARIABLE] = str(settings.http.max_upload_bytes)
    modules = list(forkserver.COMMON_MODULES)
    if any(model.engine == "nemo" for model in settings.models.values()):
        modules += forkserver.NEMO_MODULES
    # Its imports take as long as ours of Ray and Ray's start: all at once.
    fork_server = forkserver.start(modules)
    try:
        from serve_app import cluster, deployments

        address = cluster.start_ray(deployments.reserved_cpus(settings), fork_server)
    except BaseException as error:
        if fork_server is not None:
            fork_server.stop()
        if isinstance(error, RuntimeError):
            raise StartError(str(error)) from error
        raise
    return Running(address, settings.serve.app, own_cluster=True, fork_server=fork_server)


def _deploy(settings: Settings, http: HttpSettings | None) -> None:
    """Hand the application to Serve without waiting: Serve's own wait looks once a second."""
    from ray import serve

    from serve_app import cluster, deployments

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    if http is None:
        serve.start(proxy_location="Disabled", logging_config=_LOGGING)
    else:
        options = {"host": http.host, "port": http.port}
        serve.start(proxy_location="EveryNode", http_options=options, logging_config=_LOGGING)
    app = deployments.build(settings, gpu=cluster.has_gpu())
    serve.run_many(
        [serve.RunTarget(app, name=settings.serve.app, route_prefix=None, logging_config=_LOGGING)],
        wait_for_ingress_deployment_creation=False,
        wait_for_applications_running=False,
    )


def wait_until_running(
    app: str,
    timeout_s: float,
    on_progress: Callable[[str, str], None] = lambda deployment, status: None,
) -> None:
    """Wait until every deployment of the Serve application `app` is ready.

    Raises:
        StartError: a deployment failed, or one was not ready in time.
    """
    from ray import serve

    deadline = time.monotonic() + timeout_s
    seen: dict[str, str] = {}
    while True:
        status = serve.status().applications.get(app)
        deployments = status.deployments if status is not None else {}
        for name, deployment in deployments.items():
            if seen.get(name) != deployment.status.value:
                seen[name] = deployment.status.value
                on_progress(name, seen[name])
        if status is not None and status.status.value == "RUNNING":
            return
        if status is not None and status.status.value == "DEPLOY_FAILED":
            raise StartError(_reasons(status))
        if time.monotonic() > deadline:
            waiting = ", ".join(n for n, value in seen.items() if value != "HEALTHY") or "all"
            raise StartError(f"not ready in time: {waiting}")
        time.sleep(_POLL_S)


def _reasons(status: Any) -> str:
    """What went wrong, a line for each deployment that failed: the last line of its traceback."""
    reasons = [
        f"{name}: {deployment.message.strip().splitlines()[-1]}"
        for name, deployment in status.deployments.items()
        if deployment.status.value in ("DEPLOY_FAILED", "UNHEALTHY") and deployment.message.strip()
    ]
    return "\n".join(reasons) or status.message
