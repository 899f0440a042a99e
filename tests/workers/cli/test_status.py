"""`chorus status` of a running `chorus serve`: versions, refusals, and what is not there."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.demo import SPEECH
from deploy.local import CHORUS, ROOT, LocalStack
from serve_app.cluster.state import AppState
from serve_app.registry.local_store import LocalStore
from serve_app.rollout.records import Rollouts
from tests.serve_app.rollout.plans import plan
from tests.versioned import ENGINE, promote, register
from tests.workers.cli.shell import chorus
from tests.workers.stream.support import wait_until
from workers import exit_codes
from workers.cli.status import _as_json, _parts, _View
from workers.cli.tables import people_console
from workers.quality.recent import Performance


def settings_of(registry: Path) -> dict[str, Any]:
    return {
        "models": {"m": {"engine": ENGINE, "model": "m@production", "num_cpus": 0.1}},
        "routing": {"default": "m"},
        "registry": {"url": str(registry), "poll_s": 0.2},
        "audio": {"roots": [str(SPEECH)]},
        "serve": {"router_num_cpus": 0.1},
        "kafka": {"bootstrap_servers": ["127.0.0.1:1"]},
    }


def test_nothing_runs(tmp_path: Path) -> None:
    file = tmp_path / "chorus.yaml"
    settings = settings_of(tmp_path / "registry")
    settings["serve"]["app"] = "nobody-s"
    file.write_text(yaml.safe_dump(settings))
    done = chorus("status", "-s", file)
    assert done.returncode == exit_codes.UNREACHABLE
    assert "no `chorus serve` with the application `nobody-s` runs" in done.stderr


PERFORMANCE = Performance(
    since=0.0,
    until=60.0,
    models={
        "m": {
            "total_samples": 4000,
            "average_processing_time": 0.02,
            "error_rate": None,
            "samples_per_second": None,
        }
    },
    unrouted=0,
)


@pytest.mark.parametrize(
    ("performance", "shown", "told"),
    [
        (PERFORMANCE, "m 4,000 0.020", (PERFORMANCE.models, None)),
        ("no such topic", "transcripts: no such topic", (None, "no such topic")),
        (None, "stream: no record waits", (None, None)),
    ],
)
def test_what_is_known_of_the_latest_transcripts_is_shown(
    performance: Performance | str | None,
    shown: str,
    told: tuple[Any, str | None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    app = AppState(address="a:1", app="chorus", state="RUNNING", models=[], missing=[], workers={})
    view = _View(app=app, rollouts=[], lag=0, performance=performance)
    for part in _parts(view):
        people_console().print(part)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert shown in lines
    found = json.loads(json.dumps(_as_json(view)))
    models = found["performance"] and found["performance"]["models"]
    assert (models, found["performance_unknown"]) == told


@pytest.mark.ray
@pytest.mark.slow
def test_it_shows_what_serves_and_what_is_refused(tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    register(registry, "m", "one")
    register(registry, "m", "two")
    register(registry, "m", "three", fails="")
    promote(registry, "m", "1")
    with LocalStack(settings_of(registry), ROOT) as stack:
        stack.start_serve()
        stack.wait_for_serve()

        def status(*options: str) -> subprocess.CompletedProcess[str]:
            # a process of its own, since one process belongs to one cluster
            command = [*CHORUS, "status", "-s", str(stack.settings_file), *options]
            return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)

        def info() -> dict[str, Any]:
            found: dict[str, Any] = json.loads(status("--json").stdout)["models"][0]["info"]
            return found

        begun = plan(model="m", app=stack.settings.serve.app)
        Rollouts(LocalStore(registry)).begin(begun)
        first = status()
        assert first.returncode == 0, first.stderr
        head, _, row, rollout, lag = first.stdout.splitlines()
        assert rollout == (
            "m: rollout 1 of m:2 against m:1, under way; hold: nothing has been compared"
        )
        assert head.endswith(": running")
        assert row.split()[:8] == ["m", "1", "m@production", "healthy", "1", "0", "0.0", "0"]
        assert lag == "stream: no broker answers at 127.0.0.1:1"
        promote(registry, "m", "2")
        wait_until(lambda: info()["version"] == "2", 120.0)
        promote(registry, "m", "3")
        wait_until(lambda: info()["refused"], 120.0)
        refused = status()
        assert refused.returncode == exit_codes.FAILURE
        assert "m: refused: version 3: " in refused.stdout
        assert info()["version"] == "2"


@pytest.mark.ray
@pytest.mark.slow
def test_replicas_change_one_after_the_other(tmp_path: Path) -> None:
    registry, loads = tmp_path / "registry", tmp_path / "loads"
    register(registry, "m", "one")
    register(registry, "m", "two", seconds="0.5")
    promote(registry, "m", "1")
    settings = settings_of(registry)
    settings["models"]["m"] |= {"replicas": 3, "options": {"loads": str(loads)}}
    with LocalStack(settings, ROOT) as stack:
        stack.start_serve()
        stack.wait_for_serve()
        before = len(loads.read_text().splitlines())
        promote(registry, "m", "2")

        def changes() -> list[list[float]]:
            lines = loads.read_text().splitlines()[before:]
            return sorted([float(each) for each in line.split()[1:]] for line in lines)

        wait_until(lambda: len(changes()) == 6, 180.0)  # a trial and a load for each replica
        ends = [end for _, end in changes()]
        begins = [begin for begin, _ in changes()]
        assert all(end <= begin for end, begin in zip(ends, begins[1:], strict=False))


@pytest.mark.ray
@pytest.mark.slow
def test_it_shows_the_version_of_each_replica(tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    register(registry, "m", "one")
    register(registry, "m", "two", seconds="12")  # so long, and longer, do both versions serve
    promote(registry, "m", "1")
    settings = settings_of(registry)
    settings["models"]["m"]["replicas"] = 2
    with LocalStack(settings, ROOT) as stack:
        stack.start_serve()
        stack.wait_for_serve()
        said: list[str] = []

        def differs() -> bool:
            command = [*CHORUS, "status", "-s", str(stack.settings_file)]
            done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
            said[:] = done.stdout.splitlines()
            return any(line.startswith("m: version 1 (") for line in said)

        assert not differs()
        promote(registry, "m", "2")
        wait_until(differs, 180.0)
    row, difference = said[2:4]
    assert row.split()[:6] == ["m", "1,", "2", "m@production", "healthy", "2"]
    assert difference.count(") on 1 replica") == 2


@pytest.mark.ray
@pytest.mark.slow
def test_a_model_that_is_not_required_may_be_missing(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    general = {"engine": "tests.standin:StandInEngine", "num_cpus": 0.1}
    broken = {**general, "required": False, "options": {"fail_to_load": True}}
    settings |= {"models": {"m": general, "extra": broken}}
    with LocalStack(settings, ROOT) as stack:
        stack.start_serve()
        stack.wait_for_serve()
        said = stack.log("serve")
        command = [*CHORUS, "status", "-s", str(stack.settings_file)]
        status = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert "warning: going on without extra, which did not load: " in said
    assert "serving m on Ray at " in said
    assert ", without extra\n" in said
    assert status.stdout.splitlines()[0].endswith(": running without extra")
    assert "extra: " in status.stdout
    assert status.returncode == exit_codes.FAILURE
