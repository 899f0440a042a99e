"""Build Serve deployments from the settings."""

from __future__ import annotations

from typing import Any

import msgspec

from schemas.rollout import RolloutPlan
from schemas.settings import ModelSettings, ServeSettings, Settings
from serve_app.model.application import ROUTER
from serve_app.model.replica import DomainModel
from serve_app.rollout.judge import CANDIDATE, Judge
from serve_app.router.replica import Router
from serve_app.scaling.options import model_replicas
from serve_app.system.ray_adapter import serve

#: Seconds between health checks. Three failures in a row replace a replica; the death of its
#: process is noticed at the next one.
HEALTH_PERIOD_S = 2.0
#: Most concurrent calls of a model replica; high, because the batcher's queue is the actual limit.
MODEL_CALLS = 1000
#: Attempts at starting a replica before a deployment counts as failed.
START_ATTEMPTS = 3


def build_model(settings: Settings, name: str, *, gpu: bool = False) -> serve.Application:
    """Build the application of a model: one deployment, with the model's name.

    Args:
        settings: checked settings.
        name: of the model in them.
        gpu: whether the cluster has GPUs; otherwise `gpu_fraction` is ignored.
    """
    model = settings.models[name]
    replicas = model_replicas(settings.serve.app, name, model)
    deployment = serve.deployment(DomainModel).options(
        name=name, **model_options(model, gpu=gpu), **replicas
    )
    return deployment.bind(
        name,
        model,
        settings.serve.health_timeout_s,
        settings.registry,
        settings.serve.app,
        identifies=name == settings.routing.language_model,
    )


def build_router(settings: Settings) -> serve.Application:
    """Build the application of the Router, which finds the models by their applications' names."""
    router = serve.deployment(Router).options(name=ROUTER, **router_options(settings.serve))
    return router.bind(settings)


def build_candidate(
    settings: Settings, plan: RolloutPlan, *, gpu: bool = False
) -> serve.Application:
    """Build the application of a rollout: one replica of the candidate, and the judge.

    Args:
        settings: checked settings, with a registry.
        plan: of the rollout.
        gpu: whether the cluster has GPUs; otherwise `gpu_fraction` is ignored.
    """
    model = msgspec.structs.replace(
        settings.models[plan.model], model=f"{plan.name}:{plan.candidate}"
    )
    candidate = (
        serve.deployment(DomainModel)
        .options(name=CANDIDATE, num_replicas=1, **model_options(model, gpu=gpu))
        .bind(
            plan.model,
            model,
            settings.serve.health_timeout_s,
            settings.registry,
            "",
            identifies=plan.model == settings.routing.language_model,
        )
    )
    judge = serve.deployment(Judge).options(
        name="Judge",
        num_replicas=1,
        ray_actor_options={"num_cpus": 0},
        health_check_period_s=HEALTH_PERIOD_S,
    )
    return judge.bind(plan, settings.registry, candidate)


def model_options(model: ModelSettings, *, gpu: bool) -> dict[str, Any]:
    """Options of Serve for the deployment of a model, but for the number of its replicas.

    Args:
        model: settings of the model.
        gpu: whether the cluster has GPUs; otherwise `gpu_fraction` is ignored.
    """
    resources: dict[str, Any] = {"num_cpus": model.num_cpus}
    if gpu:
        resources["num_gpus"] = model.gpu_fraction
    return {
        "ray_actor_options": resources,
        "max_ongoing_requests": MODEL_CALLS,
        "max_constructor_retry_count": START_ATTEMPTS,
        "health_check_period_s": HEALTH_PERIOD_S,
    }


def router_options(settings: ServeSettings) -> dict[str, Any]:
    """Options of Serve for the deployment of the Router."""
    return {
        "num_replicas": settings.routers,
        "ray_actor_options": {"num_cpus": settings.router_num_cpus},
        "max_ongoing_requests": settings.max_ongoing_requests,
        "max_constructor_retry_count": START_ATTEMPTS,
        "health_check_period_s": HEALTH_PERIOD_S,
    }
