"""What an application reserves of a cluster. Importing this module is cheap."""

from __future__ import annotations

from schemas.model_reference import followed_alias
from schemas.settings import ModelSettings, Settings


def replicas_of(model: ModelSettings) -> int:
    """The largest number of replicas of a model."""
    return model.autoscaling.max_replicas if model.autoscaling else model.replicas


def reserved_cpus(settings: Settings) -> float:
    """CPU cores that the deployments reserve with their largest number of replicas.

    Those of one candidate are among them.
    """
    models = sum(model.num_cpus * replicas_of(model) for model in settings.models.values())
    http = settings.http.num_cpus * settings.http.replicas if settings.http else 0.0
    moving = [model.num_cpus for model in settings.models.values() if followed_alias(model.model)]
    models += max(moving, default=0.0)
    return models + http + settings.serve.router_num_cpus * settings.serve.routers
