from __future__ import annotations

from typing import Any

import msgspec
import pytest

from schemas.settings import Autoscaling, ModelSettings, ServeSettings, Settings
from serve_app.cluster.deployments import build_model, build_router, model_options, router_options
from serve_app.cluster.shares import reserved_cpus


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
    options = model_options(model(replicas=3, num_cpus=2.0), gpu=False)
    assert options["num_replicas"] == 3
    assert options["ray_actor_options"] == {"num_cpus": 2.0}
    assert "autoscaling_config" not in options


def test_autoscaling_takes_the_place_of_replicas() -> None:
    scaling = Autoscaling(min_replicas=0, max_replicas=7, target_ongoing_requests=3.0)
    options = model_options(model(autoscaling=scaling), gpu=False)
    assert "num_replicas" not in options
    assert options["autoscaling_config"] == {
        "min_replicas": 0,
        "max_replicas": 7,
        "target_ongoing_requests": 3.0,
        "upscale_delay_s": 10.0,
        "downscale_delay_s": 300.0,
    }


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
