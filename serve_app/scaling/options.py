"""Options of Ray Serve for the number of replicas. Importing this module is cheap.

Of a deployed application they change in place: nothing restarts.
"""

from __future__ import annotations

from typing import Any

import msgspec

from schemas.settings import ModelSettings, Settings, StreamSettings

_POLICIES = "serve_app.scaling.serve_policies"


def model_replicas(app: str, name: str, model: ModelSettings) -> dict[str, Any]:
    """Options for the deployment of a model.

    Args:
        app: `serve.app` of the settings.
        name: of the model in the settings.
        model: its settings.
    """
    if model.autoscaling is None:
        return {"num_replicas": model.replicas}
    policy = _policy("ModelPolicy", app=app, model=name)
    return {"autoscaling_config": {**msgspec.structs.asdict(model.autoscaling), "policy": policy}}


def worker_replicas(settings: Settings) -> dict[str, Any]:
    """Options for the deployment of the stream workers."""
    stream: StreamSettings = settings.stream
    if (scaling := stream.autoscaling) is None:
        return {"num_replicas": stream.workers}
    return {
        "autoscaling_config": {
            "min_replicas": scaling.min_workers,
            "max_replicas": scaling.max_workers,
            "upscale_delay_s": scaling.upscale_delay_s,
            "downscale_delay_s": scaling.downscale_delay_s,
            "policy": _policy("WorkerPolicy", app=settings.serve.app, group=settings.kafka.group),
        }
    }


def _policy(name: str, **arguments: str) -> dict[str, Any]:
    return {"policy_function": f"{_POLICIES}:{name}", "policy_kwargs": arguments}
