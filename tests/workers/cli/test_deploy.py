"""`chorus deploy` on a real Ray cluster that somebody else has started."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml
from typer.testing import CliRunner, Result

from deploy.demo import SPEECH
from deploy.local import ROOT
from serve_app.cluster.access import make_token
from serve_app.system.ray_environment import ENVIRONMENT
from tests.processes import command_of
from workers import exit_codes
from workers.broker.ports import free_ports
from workers.cli import app

pytestmark = [pytest.mark.ray, pytest.mark.slow]

STAND_IN = {"engine": "tests.standin:StandInEngine", "num_cpus": 0}


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of the dashboard of a cluster with one node."""
    make_token()
    folder = tmp_path_factory.mktemp("ray")
    ports = free_ports(4)
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    options = {
        "port": ports[0],
        "dashboard-port": ports[1],
        "dashboard-agent-listen-port": ports[2],
        "ray-client-server-port": ports[3],
        "min-worker-port": 0,
        "max-worker-port": 0,
        "num-cpus": 4,
        "temp-dir": folder,
    }
    with (folder / "head.log").open("wb") as log:
        head = subprocess.Popen(
            [*command, *(f"--{key}={value}" for key, value in options.items())],
            cwd=ROOT,
            env={
                **os.environ,
                **ENVIRONMENT,
                "RAY_AUTH_MODE": "token",
                "RAY_DISABLE_USAGE_STATS": "1",
                "PYTHONPATH": str(ROOT),
            },
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{ports[1]}"
    try:
        _wait_for(url, head, folder / "head.log")
        yield url
    finally:
        ray = psutil.Process(head.pid)
        for process in [*ray.children(recursive=True), ray]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        head.wait()


def _wait_for(url: str, head: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert head.poll() is None, log.read_text()
        try:
            httpx.get(f"{url}/api/version")
        except httpx.HTTPError:
            time.sleep(0.2)
        else:
            return
    pytest.fail(log.read_text())


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    return {
        "models": {"general": dict(STAND_IN), "medical": dict(STAND_IN)},
        "routing": {"default": "general"},
        "audio": {"roots": [str(SPEECH)]},
        "serve": {"router_num_cpus": 0},
        "http": {"port": free_ports(1)[0], "num_cpus": 0},
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

    settings["models"]["medical"] = {**STAND_IN, "replicas": 2}
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
