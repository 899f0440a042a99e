"""The Serve application: settings in, running deployments out."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Any

import msgspec

# before ray.serve is imported for the first time
from serve_app import cluster  # isort: split

import ray
from ray import serve

from schemas.settings import ModelSettings, ServeSettings, Settings
from serve_app.cluster import StartError
from serve_app.domain_model import DomainModel
from serve_app.router import Router

logger = logging.getLogger(__name__)

#: Seconds between health checks. Three failures in a row replace a replica; the death of its
#: process is noticed at the next one.
HEALTH_PERIOD_S = 2.0
#: Calls of one model replica at once. The batcher's queue is the real limit, this must not be.
MODEL_CALLS = 1000
#: Attempts at starting a replica before a deployment counts as failed.
START_ATTEMPTS = 3
_POLL_S = 0.1


class Running(msgspec.Struct, frozen=True):
    """A started application.

    Attributes:
        address: of the Ray cluster, for `serve_app.cluster.connect` in another process.
        app: name of the Serve application.
        own_cluster: whether `start` started the cluster, so that `stop` ends it.
    """

    address: str
    app: str
    own_cluster: bool


def build(settings: Settings, *, gpu: bool = False) -> serve.Application:
    """The application: one DomainModel deployment per model, named after it, and the Router.

    Args:
        settings: checked settings.
        gpu: whether the cluster has GPUs; otherwise `gpu_fraction` is ignored.
    """
    models = {
        name: serve.deployment(DomainModel)
        .options(name=name, **model_options(model, gpu=gpu))
        .bind(name, model, settings.serve.health_timeout_s)
        for name, model in settings.models.items()
    }
    router = serve.deployment(Router).options(name="Router", **router_options(settings.serve))
    return router.bind(settings, models)


def model_options(model: ModelSettings, *, gpu: bool) -> dict[str, Any]:
    """Serve's options for the deployment of `model`."""
    resources: dict[str, Any] = {"num_cpus": model.num_cpus}
    if gpu:
        resources["num_gpus"] = model.gpu_fraction
    options: dict[str, Any] = {
        "ray_actor_options": resources,
        "max_ongoing_requests": MODEL_CALLS,
        "max_constructor_retry_count": START_ATTEMPTS,
        "health_check_period_s": HEALTH_PERIOD_S,
    }
    scaling = model.autoscaling
    if scaling is None:
        return {**options, "num_replicas": model.replicas}
    return {**options, "autoscaling_config": msgspec.structs.asdict(scaling)}


def router_options(settings: ServeSettings) -> dict[str, Any]:
    """Serve's options for the Router's deployment."""
    return {
        "num_replicas": settings.routers,
        "ray_actor_options": {"num_cpus": settings.router_num_cpus},
        "max_ongoing_requests": settings.max_ongoing_requests,
        "max_constructor_retry_count": START_ATTEMPTS,
        "health_check_period_s": HEALTH_PERIOD_S,
    }


def start(
    settings: Settings,
    *,
    timeout_s: float = 600.0,
    on_progress: Callable[[str, str], None] = lambda deployment, status: None,
) -> Running:
    """Deploy the application and wait until every model and the Router are ready.

    On the cluster that `serve.address` or the environment variable RAY_ADDRESS names; where
    neither does, on one that is started on this machine for it. What was started is stopped
    again if this fails or is interrupted.

    Args:
        settings: checked settings.
        timeout_s: longest wait for readiness.
        on_progress: called with a deployment's name and its status whenever that changes.

    Raises:
        StartError: a deployment failed, or was not ready in time.
        ConnectionError: there is no cluster at the given address.
    """
    address = settings.serve.address or os.environ.get("RAY_ADDRESS")
    if address is None:
        running = Running(cluster.start_ray(_cpus(settings)), settings.serve.app, True)
    else:
        cluster.connect(address)
        running = Running(address, settings.serve.app, False)
    try:
        _quiet()
        serve.start(proxy_location="Disabled", logging_config=_LOGGING)
        app = build(settings, gpu=cluster.has_gpu())
        _deploy(app, settings.serve.app)
        _wait(settings.serve.app, time.monotonic() + timeout_s, on_progress)
    except BaseException:
        stop(running)
        raise
    return running


def stop(running: Running) -> None:
    """Take the application down, and the cluster with it if it was started for it.

    Idempotent; leaves no process of ours behind.
    """
    if not ray.is_initialized():
        return
    if running.own_cluster:
        ray.shutdown()  # ends every process of the cluster at once
        return
    serve.delete(running.app)
    ray.shutdown()


_LOGGING = {"log_level": "WARNING", "enable_access_log": False}


def _quiet() -> None:
    logging.getLogger("ray.serve").setLevel(logging.WARNING)


def _deploy(app: serve.Application, name: str) -> None:
    """Hand the application to Serve without waiting: Serve's own wait looks once a second."""
    serve.run_many(
        [serve.RunTarget(app, name=name, route_prefix=None, logging_config=_LOGGING)],
        wait_for_ingress_deployment_creation=False,
        wait_for_applications_running=False,
    )


def _wait(app: str, deadline: float, on_progress: Callable[[str, str], None]) -> None:
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


def _cpus(settings: Settings) -> float:
    """CPU cores that the deployments reserve at their largest."""
    models = sum(
        model.num_cpus * (model.autoscaling.max_replicas if model.autoscaling else model.replicas)
        for model in settings.models.values()
    )
    return models + settings.serve.router_num_cpus * settings.serve.routers
