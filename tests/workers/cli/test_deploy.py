"""`chorus deploy` on a real Ray cluster that somebody else has started."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner, Result

from deploy.demo import SPEECH
from serve_app.telemetry import definitions as defined
from tests.processes import command_of
from tests.ray_nodes import RayNodes
from workers import exit_codes
from workers.broker.ports import free_ports
from workers.cli import app

pytestmark = [pytest.mark.ray, pytest.mark.slow]

STAND_IN = {"engine": "tests.standin:StandInEngine", "num_cpus": 0}


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayNodes]:
    """A cluster with one node, which serves Ray's metrics."""
    with (
        tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder,
        RayNodes(Path(folder), head_cpus=4, metrics=True) as nodes,
    ):
        nodes.start_head()
        yield nodes


@pytest.fixture(scope="module")
def dashboard(nodes: RayNodes) -> str:
    """URL of its dashboard."""
    return nodes.dashboard


@pytest.fixture(scope="module")
def port() -> int:
    """Of the API; a proxy of Serve keeps the one that it started with."""
    return free_ports(1)[0]


@pytest.fixture
def settings(port: int) -> dict[str, Any]:
    return {
        "models": {"general": dict(STAND_IN), "medical": dict(STAND_IN)},
        "routing": {"default": "general"},
        "audio": {"roots": [str(SPEECH)]},
        "serve": {"router_num_cpus": 0},
        "http": {"port": port, "num_cpus": 0},
    }


def deploy(folder: Path, settings: dict[str, Any], *arguments: str) -> Result:
    path = folder / "chorus.yaml"
    path.write_text(yaml.safe_dump(settings))
    return CliRunner().invoke(app, ["deploy", "--settings", str(path), *arguments])


def replicas(dashboard: str) -> dict[str, set[int]]:
    """Process numbers of the replicas on this machine, by application."""
    found: dict[str, set[int]] = {}
    for process in psutil.process_iter():
        title = " ".join(command_of(process))
        if title.startswith("ray::ServeReplica:chorus"):
            found.setdefault(title.split(":")[3], set()).add(process.pid)
    return found


def test_only_what_changed_restarts(
    dashboard: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    result = deploy(tmp_path, settings, "--address", dashboard)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "chorus-model-general starts",
        "chorus-model-medical starts",
        "chorus starts",
        "chorus-http starts",
    ]
    url = f"http://127.0.0.1:{settings['http']['port']}"
    assert httpx.get(f"{url}/ready").status_code == 200
    before = replicas(dashboard)
    settings["models"]["medical"]["options"] = {"fail_to_load": True}
    settings["models"]["medical"]["required"] = False
    told = deploy(tmp_path, settings, "--address", dashboard, "--diff")
    assert "chorus-model-medical (running) restarts" in told.stdout
    assert replicas(dashboard) == before

    settings["models"]["medical"] = {**STAND_IN, "replicas": 2, "num_cpus": 0.1}
    result = deploy(tmp_path, settings, "--address", dashboard)
    assert result.exit_code == 0, result.output
    assert [line for line in result.stdout.splitlines() if "stays" not in line] == [
        "chorus-model-medical (running) restarts"
    ]
    after = replicas(dashboard)
    assert len(after["chorus-model-medical"]) == 2
    for name in ("chorus-model-general", "chorus", "chorus-http"):
        assert after[name] == before[name], name
    clip = next(SPEECH.rglob("*.flac"))
    with clip.open("rb") as file:
        answer = httpx.post(
            f"{url}/v1/audio/transcriptions", files={"file": file}, data={"model": "medical"}
        )
    assert answer.status_code == 200, answer.text

    settings["models"]["medical"]["replicas"] = 3
    result = deploy(tmp_path, settings, "--address", dashboard)
    assert result.exit_code == 0, result.output
    assert [line for line in result.stdout.splitlines() if "stays" not in line] == [
        "chorus-model-medical (running) changes the number of its replicas, without a restart"
    ]
    scaled = replicas(dashboard)
    assert len(scaled["chorus-model-medical"]) == 3
    assert after["chorus-model-medical"] < scaled["chorus-model-medical"]
    result = deploy(tmp_path, settings, "--address", dashboard)
    assert all(line.endswith("stays as it is") for line in result.stdout.splitlines())


def test_ray_serves_the_metrics_of_the_replicas(
    nodes: RayNodes, settings: dict[str, Any], tmp_path: Path
) -> None:
    result = deploy(tmp_path, settings, "--address", nodes.dashboard)
    assert result.exit_code == 0, result.output
    url = f"http://127.0.0.1:{settings['http']['port']}"
    answer = httpx.get(f"{url}/metrics")
    assert answer.status_code == 404
    assert "metrics port of each of its nodes" in answer.json()["error"]["message"]
    with next(SPEECH.rglob("*.flac")).open("rb") as file:
        httpx.post(f"{url}/v1/audio/transcriptions", files={"file": file}).raise_for_status()
    expected = {
        f"ray_{each.prometheus_name}{'_count' if each.kind == 'histogram' else ''}"
        for each in (
            *(defined.MODEL_CLIPS, defined.MODEL_BATCH, defined.MODEL_VERSION),
            *(defined.ROUTES, defined.STAGE, defined.HTTP_REQUESTS, defined.HTTP_SECONDS),
        )
    }
    found: set[str] = set()
    routes: list[dict[str, str]] = []
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        families = list(text_string_to_metric_families(httpx.get(nodes.metrics_url).text))
        samples = [sample for each in families for sample in each.samples]
        found = {each.name for each in samples if each.name.startswith("ray_chorus_")}
        routes = [each.labels for each in samples if each.name == "ray_chorus_router_routes_total"]
        if expected <= found and ("default", "general") in map(_route, routes):
            break
        time.sleep(1)
    assert expected <= found
    assert ("default", "general") in map(_route, routes)
    assert {(each["application"], each["deployment"]) for each in routes} == {("chorus", "Router")}


def _route(labels: dict[str, str]) -> tuple[str, str]:
    return labels["rule"], labels["target"]


def test_a_model_that_nobody_uses_sleeps_until_it_is_asked_for(
    dashboard: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    settings["models"]["dental"] = {**STAND_IN, "autoscaling": {"min_replicas": 0}}
    settings["models"]["general"]["autoscaling"] = {"max_replicas": 2}
    result = deploy(tmp_path, settings, "--address", dashboard)
    assert result.exit_code == 0, result.output
    url = f"http://127.0.0.1:{settings['http']['port']}"
    for _ in range(3):
        up = httpx.get(f"{url}/ready").json()["models"]
        assert up == {"general": True, "medical": True, "dental": True}
    there = replicas(dashboard)
    assert "chorus-model-general" in there
    assert "chorus-model-dental" not in there, "to look whether it is ready did not wake it"
    with next(SPEECH.rglob("*.flac")).open("rb") as file:
        answer = httpx.post(
            f"{url}/v1/audio/transcriptions",
            files={"file": file},
            data={"model": "dental"},
            timeout=60,
        )
    assert answer.status_code == 200, answer.text
    assert replicas(dashboard)["chorus-model-dental"]


def test_one_that_fails_is_told_and_tried_again(
    dashboard: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    settings["serve"]["app"] = "failing"
    del settings["http"]
    settings["models"]["medical"]["options"] = {"fail_to_load": True}
    result = deploy(tmp_path, settings, "--address", dashboard)
    assert result.exit_code == exit_codes.FAILURE
    assert "failing-model-medical: " in result.stderr
    assert "told to fail" in result.stderr
    settings["models"]["medical"]["required"] = False
    result = deploy(tmp_path, settings, "--address", dashboard)
    assert result.exit_code == 0, result.output
    assert "failing-model-medical (deploy failed) restarts" in result.stdout
    assert "going on without failing-model-medical" in result.stderr


@pytest.mark.parametrize(
    ("address", "code", "said"),
    [
        ("127.0.0.1:8265", exit_codes.SETTINGS, "not a URL; write http://HOST:8265"),
        ("http://127.0.0.1:1", exit_codes.UNREACHABLE, "no dashboard of Ray answers"),
    ],
)
def test_a_cluster_that_is_not_there(
    settings: dict[str, Any], tmp_path: Path, address: str, code: int, said: str
) -> None:
    result = deploy(tmp_path, settings, "--address", address)
    assert result.exit_code == code
    assert said in result.stderr
