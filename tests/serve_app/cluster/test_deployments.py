from __future__ import annotations

from typing import Any

import msgspec
import pytest

from schemas.settings import Autoscaling, ModelSettings, ServeSettings, Settings
from serve_app.cluster.deployments import build_model, build_router, model_options, router_options
from serve_app.cluster.shares import reserved_cpus
from serve_app.scaling.serve_policies import ModelPolicy


def model(**keys: Any) -> ModelSettings:
    return ModelSettings(engine="a.b:C", **keys)


def settings(models: dict[str, ModelSettings], **serve: Any) -> Settings:
    raw = {
        "models": {name: msgspec.to_builtins(each) for name, each in models.items()},
        "routing": {"default": next(iter(models))},
        "audio": {"roots": ["/"]},
        "serve": serve,
    }
    return msgspec.convert(raw, Settings)


def test_a_fixed_number_of_replicas() -> None:
    built = build_model(settings({"general": model(replicas=3)}), "general")
    deployment = built._bound_deployment
    assert deployment.num_replicas == 3
    assert deployment._deployment_config.autoscaling_config is None


def test_autoscaling_takes_the_place_of_replicas() -> None:
    built = build_model(
        settings({"general": model(autoscaling=Autoscaling(max_replicas=7))}), "general"
    )
    scaling = built._bound_deployment._deployment_config.autoscaling_config
    assert (scaling.min_replicas, scaling.max_replicas) == (1, 7)
    assert scaling.policy.get_policy() is ModelPolicy
    assert ModelPolicy(**scaling.policy.policy_kwargs)


@pytest.mark.parametrize("gpu", [True, False])
def test_a_share_of_a_gpu_only_where_there_is_one(gpu: bool) -> None:
    resources = model_options(model(gpu_fraction=0.25), gpu=gpu)["ray_actor_options"]
    assert resources.get("num_gpus") == (0.25 if gpu else None)


def test_calls_are_limited_by_the_batcher_not_by_serve() -> None:
    """Serve's default of 5 calls would keep the batches small."""
    assert model_options(model(), gpu=False)["max_ongoing_requests"] >= 1000


def test_the_router() -> None:
    options = router_options(ServeSettings(routers=2, router_num_cpus=0.5, max_ongoing_requests=9))
    assert options["num_replicas"] == 2
    assert options["ray_actor_options"] == {"num_cpus": 0.5}
    assert options["max_ongoing_requests"] == 9


def test_reserved_cpus_count_every_replica_at_its_largest() -> None:
    models = {
        "a": model(num_cpus=1.5, replicas=2),
        "b": model(num_cpus=0.5, autoscaling=Autoscaling(max_replicas=4)),
    }
    assert reserved_cpus(settings(models, routers=2, router_num_cpus=1.0)) == 3 + 2 + 2


def test_build_accepts_all_of_it() -> None:
    """Serve checks options when a deployment is made."""
    models = {"a": model(replicas=2), "b.c-d": model(autoscaling=Autoscaling())}
    of = settings(models)
    for name in models:
        build_model(of, name, gpu=True)
    build_router(of)
