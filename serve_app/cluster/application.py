"""Start and stop Serve applications.

Importing this module is cheap; `start` imports Ray, which is not.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from schemas.settings import HttpSettings, Settings
from serve_app.cluster.port import PortClaim, PortTakenError
from serve_app.cluster.quick_start.fork_server import (
    COMMON_MODULES,
    NEMO_MODULES,
    ForkServer,
    start_fork_server,
)
from serve_app.cluster.readiness import POLL_S, StartError, lines_of, wait_until_running
from serve_app.cluster.shares import reserved_cpus
from serve_app.model.application import is_model_app, model_app, model_apps
from serve_app.rollout.judge import is_candidate
from serve_app.system.imports import quick_imports
from serve_app.system.log_format import serve_logging
from serve_app.system.ray_environment import (
    DEPLOYED_NOTES,
    MAX_BODY_VARIABLE,
    ORIGINS_VARIABLE,
)

logger = logging.getLogger(__name__)

#: What a stop in order may take beside what the settings allow.
_MARGIN_S = 60.0


class Running(msgspec.Struct, frozen=True):
    """A started application.

    Attributes:
        address: of the Ray cluster, for `serve_app.cluster.ray_cluster.connect` in another process.
        app: name of the Serve application.
        own_cluster: whether `start` started the cluster, so that `stop` ends it.
        fork_server: starts the workers of such a cluster; None without a quick start.
        apps: applications that this process deployed, in their order.
        owned: those of them that belong to it, so that `stop` deletes them.
        port: the HTTP port of such a cluster; None without HTTP.
        patience_s: longest time that stopping in order may take.
        logs: the folder with the logs of the replicas on this machine.
        missing: why models that are not required did not load, by name.
    """

    address: str
    app: str
    own_cluster: bool
    fork_server: ForkServer | None = None
    apps: list[str] = []
    owned: list[str] = []
    port: PortClaim | None = None
    patience_s: float = 60.0
    logs: str | None = None
    missing: Mapping[str, str] = {}


def start(
    settings: Settings,
    *,
    http: bool = False,
    timeout_s: float = 600.0,
    on_progress: Callable[[str, str], None] = lambda deployment, status: None,
    on_cluster: Callable[[str], None] = lambda address: None,
) -> Running:
    """Deploy the application and wait until every model and the Router are ready.

    The cluster is the one that `serve.address` or the environment variable RAY_ADDRESS names; if
    neither is set, a new one on this machine. If this fails or is interrupted, everything that was
    started is stopped again.

    Args:
        settings: checked settings.
        http: whether to start Serve's proxy, for `serve_app.http`.
        timeout_s: longest wait for readiness.
        on_progress: called with a deployment's name and its status whenever the status changes.
        on_cluster: called with the address of the Ray cluster before the application is deployed.

    Raises:
        StartError: Ray does not start, a deployment failed, or one was not ready in time.
        ConnectionError: there is no cluster at the given address.
    """
    address = settings.serve.address or os.environ.get("RAY_ADDRESS")
    if address is not None:
        from serve_app.cluster import ray_cluster

        ray_cluster.connect(address)
        running = Running(
            address,
            settings.serve.app,
            own_cluster=False,
            patience_s=_patience_s(settings),
            logs=ray_cluster.log_folder(),
        )
    else:
        running = _start_cluster(settings, settings.http if http else None)
    try:
        on_cluster(running.address)
        _deploy(settings, settings.http if http else None, running)
        missing = _wait_for_models(settings, timeout_s, on_progress)
    except BaseException:
        stop(running)
        raise
    return msgspec.structs.replace(running, missing=missing)


def _wait_for_models(
    settings: Settings, timeout_s: float, on_progress: Callable[[str, str], None]
) -> dict[str, str]:
    """Wait for the models and the Router; returns why models that are not required are missing."""
    optional = [name for name, model in settings.models.items() if not model.required]
    missing = wait_until_running(core_apps(settings), timeout_s, on_progress, optional)
    if set(missing) == set(settings.models):
        raise StartError(f"no model has loaded\n{lines_of(missing)}")
    return missing


def core_apps(settings: Settings) -> list[str]:
    """Names of the Serve applications of the models and, last, that of the Router."""
    return [*model_apps(settings.serve.app, settings.models).values(), settings.serve.app]


def stop(running: Running, *, give_up: Callable[[], bool] = lambda: False) -> bool:
    """Stop what was started, the last application first, and the cluster if `start` started it.

    On such a cluster, every other application (a stream worker, for example) is deleted first, so
    that it can shut down gracefully. On another one, applications that belong to another process
    stay. Idempotent; returns in bounded time and leaves no processes behind, whatever state the
    cluster is in.

    Args:
        running: what `start` returned.
        give_up: asked every now and then; once it says so, everything is ended at once.

    Returns:
        Whether all ended in order. Otherwise Ray must not be used any more in this process, and
        may hold up its exit.
    """
    from serve_app.cluster import ray_cluster

    ending = threading.Thread(target=_end_in_order, args=(running,), daemon=True)
    ending.start()
    deadline = time.monotonic() + running.patience_s
    while ending.is_alive() and time.monotonic() < deadline:
        if give_up() or (running.own_cluster and ray_cluster.dead_processes()):
            break
        ending.join(POLL_S)
    in_order = not ending.is_alive()
    if running.own_cluster:
        ray_cluster.kill_cluster()
    if running.fork_server is not None:
        running.fork_server.stop()
    if running.port is not None:
        running.port.release()
    return in_order


def _end_in_order(running: Running) -> None:
    from serve_app.system.ray_adapter import app_statuses, ray

    if not ray.is_initialized():
        return
    with contextlib.suppress(Exception):  # a cluster that does not work; it is ended all the same
        mine = [*reversed(running.owned)]
        others = [app for app in app_statuses() if app not in mine]
        if running.own_cluster:  # the Router and the models end with it
            mine = [app for app in (*others, *mine) if not _is_core(app, running.app)]
        elif running.app in mine:
            mine = [*(each for each in others if is_candidate(each, running.app)), *mine]
        for app in mine:
            _delete(app)
    ray.shutdown()  # ends all processes of the cluster at once, if this process started it


def _is_core(name: str, app: str) -> bool:
    return name == app or is_model_app(name, app)


def _delete(app: str) -> None:
    from serve_app.system.ray_adapter import serve

    try:
        serve.delete(app)
    except TimeoutError:
        logger.warning("Serve application %s is still shutting down; not waiting any longer", app)


def _take(running: Running, app: str) -> None:
    """Have `stop` delete an application that is deployed now, unless another process owns it."""
    from serve_app.system.ray_adapter import claim
    from serve_app.system.ray_notes import put_note

    put_note(DEPLOYED_NOTES, app, secrets.token_hex(8))
    if app in running.apps:
        return
    running.apps.append(app)
    if claim(app):
        running.owned.append(app)
    else:
        logger.info(
            "application %s belongs to another `chorus serve`; it is updated now, and not deleted "
            "when this one ends",
            app,
        )


def _patience_s(settings: Settings) -> float:
    http_s = settings.http.timeout_s if settings.http is not None else 0.0
    return _MARGIN_S + settings.stream.drain_timeout_s + http_s


def _claim_port(http: HttpSettings) -> PortClaim:
    try:
        return PortClaim(http.host, http.port)
    except (PortTakenError, OSError) as error:
        raise StartError(
            f"the HTTP API cannot listen at {http.host}:{http.port}: {error}"
        ) from error


def _start_cluster(settings: Settings, http: HttpSettings | None) -> Running:
    port = _claim_port(http) if http is not None else None
    if settings.http is not None:
        # overwritten: on a new cluster the settings decide, not the variables of an earlier one
        os.environ[MAX_BODY_VARIABLE] = str(settings.http.max_upload_bytes)
        os.environ[ORIGINS_VARIABLE] = " ".join(settings.http.allowed_origins)
    # Started first: its imports run while this process imports and starts Ray.
    fork_server = _start_fork_server(settings) if settings.serve.quick_start == "auto" else None
    try:
        with quick_imports():
            from serve_app.cluster import deployments, ray_cluster  # noqa: F401

        address = ray_cluster.start_ray(reserved_cpus(settings), fork_server)
    except BaseException as error:
        if fork_server is not None:
            fork_server.stop()
        if port is not None:
            port.release()
        if isinstance(error, RuntimeError):
            raise StartError(str(error)) from error
        raise
    return Running(
        address,
        settings.serve.app,
        own_cluster=True,
        fork_server=fork_server,
        port=port,
        patience_s=_patience_s(settings),
        logs=ray_cluster.log_folder(),
    )


def _start_fork_server(settings: Settings) -> ForkServer | None:
    nemo = any(model.engine == "nemo" for model in settings.models.values())
    return start_fork_server(COMMON_MODULES, NEMO_MODULES if nemo else ())


def _deploy(settings: Settings, http: HttpSettings | None, running: Running) -> None:
    """Deploy models and Router without waiting: Serve's own wait polls only once a second."""
    from serve_app.cluster import deployments, ray_cluster
    from serve_app.system.ray_adapter import serve

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    if http is None:
        serve.start(proxy_location="Disabled", logging_config=serve_logging("WARNING"))
    else:
        options = {"host": http.host, "port": http.port}
        serve.start(
            proxy_location="EveryNode",
            http_options=options,
            logging_config=serve_logging("WARNING"),
        )
    for name in core_apps(settings):
        _take(running, name)
    gpu, app = ray_cluster.has_gpu(), settings.serve.app
    built = {
        model_app(app, name): deployments.build_model(settings, name, gpu=gpu)
        for name in settings.models
    }
    built[app] = deployments.build_router(settings)
    serve.run_many(
        [
            serve.RunTarget(
                each, name=name, route_prefix=None, logging_config=serve_logging("WARNING")
            )
            for name, each in built.items()
        ],
        wait_for_ingress_deployment_creation=False,
        wait_for_applications_running=False,
    )


def add_application(
    running: Running,
    app: Any,
    name: str,
    *,
    route_prefix: str | None = None,
    timeout_s: float = 120.0,
) -> None:
    """As `run_application`, for one that `stop` deletes before the models.

    Args:
        running: what `start` returned.
        app: a bound deployment.
        name: of the application.
        route_prefix: its path in Serve's proxy; None for an application without HTTP.
        timeout_s: longest wait for readiness.

    Raises:
        StartError: it failed, or was not ready in time.
    """
    _take(running, name)  # first: an application that fails to start is there
    run_application(app, name, route_prefix=route_prefix, timeout_s=timeout_s)


def run_application(
    app: Any, name: str, *, route_prefix: str | None = None, timeout_s: float = 120.0
) -> None:
    """Run another Serve application on the cluster of the models, and wait until it is ready.

    Args:
        app: a bound deployment.
        name: of the application.
        route_prefix: its path in Serve's proxy; None for an application without HTTP.
        timeout_s: longest wait for readiness.

    Raises:
        StartError: it failed, or was not ready in time.
    """
    from serve_app.system.ray_adapter import serve

    target = serve.RunTarget(app, name=name, route_prefix=route_prefix)
    serve.run_many([target], wait_for_applications_running=False)
    wait_until_running([name], timeout_s)


def delete_application(name: str) -> None:
    """Delete an application that `run_application` started; its requests are finished first."""
    from serve_app.system.ray_adapter import serve

    serve.delete(name)
