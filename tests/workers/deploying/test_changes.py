"""The Serve config of settings, and what deploying it changes."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from schemas.settings import settings_from
from workers.deploying.changes import Change, changes, to_deploy
from workers.deploying.config import serve_config

RAW: dict[str, Any] = {
    "models": {"general": {"engine": "a.b:C"}, "medical": {"engine": "a.b:C"}},
    "routing": {"default": "general"},
    "audio": {"roots": ["/speech"]},
    "http": {"port": 8123},
}
NAMES = ["chorus-model-general", "chorus-model-medical", "chorus", "chorus-http"]


def config(*, file: str | None = None, worker: bool = False, **medical: object) -> dict[str, Any]:
    raw = copy.deepcopy(RAW)
    raw["models"]["medical"].update(medical)
    return serve_config(settings_from(raw), file=file, worker=worker)


def details(config: dict[str, Any], **states: str) -> dict[str, Any]:
    """What Serve says after the config was deployed."""
    return {
        "applications": {
            each["name"]: {
                "status": states.get(each["name"].replace("-", "_"), "RUNNING"),
                "deployed_app_config": copy.deepcopy(each),
            }
            for each in config["applications"]
        }
    }


@pytest.mark.parametrize("file", [None, "/etc/chorus/chorus.yaml"])
def test_the_config_is_one_of_serve(file: str | None) -> None:
    from ray.serve.schema import ServeDeploySchema

    made = config(file=file, worker=True)
    ServeDeploySchema(**made)
    applications = {each["name"]: each for each in made["applications"]}
    assert list(applications) == [*NAMES, "chorus-worker"]
    assert made["http_options"] == {"host": "127.0.0.1", "port": 8123}
    medical = applications["chorus-model-medical"]["args"]
    assert medical["model"] == "medical"
    if file is None:
        assert medical["settings"]["models"] == {"medical": {"engine": "a.b:C"}}
    else:
        assert medical["settings"] == file
    assert applications["chorus-http"]["route_prefix"] == "/"
    assert applications["chorus"]["route_prefix"] is None


@pytest.mark.parametrize("file", [None, "/etc/chorus/chorus.yaml"])
def test_only_what_a_change_concerns_restarts(file: str | None) -> None:
    there = details(config(file=file))
    found = changes(config(file=file, num_cpus=2), there, "chorus")
    assert [each.kind for each in found] == ["keep", "restart", "keep", "keep"]
    assert {each.kind for each in changes(config(file=file), there, "chorus")} == {"keep"}
    assert {each.kind for each in changes(config(file=file), {}, "chorus")} == {"start"}


def test_the_number_of_replicas_changes_in_place() -> None:
    found = changes(config(replicas=2), details(config()), "chorus")
    assert [each.kind for each in found] == ["keep", "scale", "keep", "keep"]
    scaled = config(autoscaling={"max_replicas": 3})
    found = changes(config(autoscaling={"max_replicas": 9}), details(scaled), "chorus")
    assert [each.kind for each in found] == ["keep", "scale", "keep", "keep"]
    # another policy makes another version of the application for Serve
    found = changes(scaled, details(config()), "chorus")
    assert [each.kind for each in found] == ["keep", "restart", "keep", "keep"]


def test_a_config_says_how_many_replicas_there_are() -> None:
    raw = copy.deepcopy(RAW)
    raw["models"]["general"]["autoscaling"] = {"min_replicas": 0, "max_replicas": 7}
    raw |= {"serve": {"routers": 2}, "stream": {"autoscaling": {"max_workers": 3}}}
    made = serve_config(settings_from(raw), file=None, worker=True)
    general, medical, router, api, worker = (
        each["deployments"][0] for each in made["applications"]
    )
    assert general["autoscaling_config"] == {
        "min_replicas": 0,
        "max_replicas": 7,
        "target_ongoing_requests": 2.0,
        "upscale_delay_s": 10.0,
        "downscale_delay_s": 300.0,
        "policy": {
            "policy_function": "serve_app.scaling.serve_policies:ModelPolicy",
            "policy_kwargs": {"app": "chorus", "model": "general"},
        },
    }
    assert medical == {"name": "medical", "num_replicas": 1}
    assert router == {"name": "Router", "num_replicas": 2}
    assert api == {"name": "Http", "num_replicas": 1}
    assert worker["autoscaling_config"]["max_replicas"] == 3


def test_ours_are_removed_and_those_of_others_stay() -> None:
    there = details(config(worker=True))
    other = {"name": "other", "import_path": "x:y", "route_prefix": "/other", "args": {}}
    there["applications"]["other"] = {"status": "RUNNING", "deployed_app_config": other}
    there["applications"]["by-hand"] = {"status": "RUNNING", "deployed_app_config": None}
    found = changes(config(), there, "chorus")
    assert found[-1] == Change("chorus-worker", "remove", "RUNNING")
    assert len(found) == 5
    sent = to_deploy(config(), there, "chorus")
    assert [each["name"] for each in sent["applications"]] == [*NAMES, "other"]


def test_one_that_failed_is_tried_again_and_then_left() -> None:
    there = details(config(), chorus_model_medical="DEPLOY_FAILED")
    found = changes(config(), there, "chorus")
    assert [each.kind for each in found] == ["keep", "restart", "keep", "keep"]
    sent = to_deploy(config(), there, "chorus")
    assert [each["args"].get("attempt") for each in sent["applications"]] == [None, 1, None, None]
    there = details(sent)
    assert {each.kind for each in changes(config(), there, "chorus")} == {"keep"}
    assert to_deploy(config(), there, "chorus") == sent, "with the same arguments, it stays"
