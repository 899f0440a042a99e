"""The manifests are what KubeRay, KEDA, Kubernetes and Ray take, and say what the settings say."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.kubernetes.serve_configs import OVERLAYS, SETTINGS, serve_config_patch
from schemas.settings import load_settings, part_digest
from serve_app.system.ray_environment import ENVIRONMENT
from tests.deploy.manifest_checks import faults, rendered, serve_faults

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl"),
]

NAMES = [overlay.name for overlay in OVERLAYS]


@pytest.fixture(scope="module", params=OVERLAYS, ids=NAMES)
def overlay(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


@pytest.fixture(scope="module")
def objects(overlay: Path) -> dict[str, dict[str, Any]]:
    """By kind and name."""
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in rendered(overlay)}


def test_a_strict_server_takes_them(objects: dict[str, dict[str, Any]]) -> None:
    assert [fault for each in objects.values() for fault in faults(each)] == []
    assert all(
        each["metadata"].get("namespace") == "chorus"
        for each in objects.values()
        if each["kind"] != "Namespace"
    )


def test_the_checks_find_what_is_wrong(objects: dict[str, dict[str, Any]]) -> None:
    service = copy.deepcopy(objects["RayService/chorus"])
    service["spec"]["rayClusterConfig"]["headGroupSpec"]["headServices"] = {}
    service["spec"]["rayClusterDeletionDelaySeconds"] = "soon"
    found = list(faults(service))
    assert any("'headServices' was unexpected" in each for each in found)
    assert any("'soon' is not of type 'integer'" in each for each in found)
    budget = copy.deepcopy(objects["PodDisruptionBudget/chorus"])
    budget["spec"]["minAvailible"] = 1
    assert any("minAvailible" in each for each in faults(budget))
    text = objects["RayService/chorus"]["spec"]["serveConfigV2"]
    assert list(serve_faults(text.replace("route_prefix", "route"))) != []
    wrong = text.replace("deploy:router", "deploy:nothing")
    assert list(serve_faults(wrong)) == ["chorus: there is no serve_app.deploy:nothing"]


def test_the_serve_config_follows_from_the_settings(
    overlay: Path, objects: dict[str, dict[str, Any]]
) -> None:
    said = (overlay / "serve-config.yaml").read_text()
    assert said == serve_config_patch(overlay), "run `python -m deploy.kubernetes`"
    text = objects["RayService/chorus"]["spec"]["serveConfigV2"]
    assert list(serve_faults(text)) == []
    mounted = objects["ConfigMap/chorus-settings"]["data"]
    assert list(mounted) == [Path(SETTINGS).name]
    settings = load_settings(overlay / "chorus.yaml", files=False, base=Path("/etc/chorus"))
    for application in yaml.safe_load(text)["applications"]:
        part = application["import_path"].partition(":")[2]
        args = application["args"]
        assert args["settings"] == SETTINGS
        assert args["sha256"] == part_digest(settings, part, args.get("model", ""))


def test_pods(objects: dict[str, dict[str, Any]]) -> None:
    cluster = objects["RayService/chorus"]["spec"]["rayClusterConfig"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    specs = [group["template"]["spec"] for group in groups]
    for spec in specs:
        [container] = spec["containers"]
        given = {each["name"]: each.get("value") for each in container["env"]}
        measured = ENVIRONMENT | {"RAY_enable_metrics_collection": "1"}
        assert {name: given.get(name) for name in ENVIRONMENT} == measured
        assert container["image"].startswith("chorus-serve:")
        assert container["volumeMounts"] == [
            {"name": "settings", "mountPath": str(Path(SETTINGS).parent), "readOnly": True}
        ]
        assert spec["volumes"][0]["configMap"]["name"] == "chorus-settings"
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    stream = objects.get("StatefulSet/chorus-stream")
    specs += [stream["spec"]["template"]["spec"]] if stream is not None else []
    for spec in specs:
        assert spec["securityContext"]["runAsNonRoot"] is True
        for container in spec["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert "memory" in container["resources"]["limits"]


def test_stream_workers_are_inside_serve_or_pods_of_their_own(
    overlay: Path, objects: dict[str, dict[str, Any]]
) -> None:
    settings = load_settings(overlay / "chorus.yaml", files=False)
    text = objects["RayService/chorus"]["spec"]["serveConfigV2"]
    inside = "chorus-worker" in [each["name"] for each in yaml.safe_load(text)["applications"]]
    stream = objects.get("StatefulSet/chorus-stream")
    assert inside is (stream is None) is (settings.stream.backend is None)
    if stream is None:
        return
    [trigger] = objects["ScaledObject/chorus-stream"]["spec"]["triggers"]
    assert trigger["metadata"]["topic"] == settings.kafka.topics.manifests
    assert trigger["metadata"]["consumerGroup"] == settings.kafka.group
    assert trigger["metadata"]["bootstrapServers"] == settings.kafka.bootstrap_servers[0]
    spec = stream["spec"]["template"]["spec"]
    [status] = spec["containers"][0]["ports"]
    assert settings.stream.status is not None
    assert settings.stream.status.host == "0.0.0.0"
    assert settings.stream.status.port == status["containerPort"]
    monitor = objects["PodMonitor/chorus-stream"]["spec"]
    assert monitor["podMetricsEndpoints"] == [{"port": status["name"]}]
    assert monitor["selector"]["matchLabels"].items() <= (
        stream["spec"]["template"]["metadata"]["labels"].items()
    )
    assert spec["terminationGracePeriodSeconds"] > settings.stream.drain_timeout_s
    mounted = spec["volumes"][0]["configMap"]["name"]
    assert mounted.startswith("chorus-stream-settings-"), "other settings make other pods"
    assert settings.stream.backend == "http://chorus-serve-svc:8000"
