"""`chorus engine check`, whose engines run in a process of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.demo import MODELS
from deploy.local import ROOT
from serve_app.engines.conformance.trial import NAMES
from tests.serve_app.engines.conformance import engines
from tests.workers.cli.shell import chorus


def checked(
    engine: str, *arguments: str | Path, code: int, cwd: Path | None = None
) -> dict[str, Any]:
    done = chorus("engine", "check", engine, *arguments, "--json", cwd=cwd)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def named(name: str) -> str:
    return f"{engines.__name__}:{name}"


def test_people_see_a_line_for_each_check() -> None:
    done = chorus("engine", "check", named("Good"), "--option", "level=0.01")
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert [line.split("  ")[0].strip() for line in lines[1 : len(NAMES) + 1]] == list(NAMES)
    assert all(" ok " in line for line in lines[1 : len(NAMES) + 1])
    assert lines[-1] == "0 wrong, 0 warnings"


def test_people_see_what_to_do() -> None:
    done = chorus("engine", "check", named("Wordless"), "--option", "level=0.01")
    assert done.returncode == 0
    assert "\nwords: 4 of 4 clips have no `words`, although they were asked for\n  next: " in (
        done.stdout
    )
    assert done.stdout.endswith("0 wrong, 1 warning\n")


def test_scripts_see_what_ended_the_process() -> None:
    found = checked(named("Killing"), code=7)
    assert (found["engine"], found["wrong"]) == (named("Killing"), 1)
    *before, last = found["checks"]
    assert [each["state"] for each in before] == ["ok"] * len(before)
    assert last["name"] == "silence"
    assert last["said"] == "its process ended with exit code 3"
    assert last["next"]


def test_an_engine_that_hangs_is_ended() -> None:
    [load] = checked(named("Hanging"), "--timeout", "5", code=7)["checks"]
    assert (load["name"], load["said"]) == ("load", "its process did not end within 5 s")


def test_an_engine_runs_on_a_thread_of_its_own_as_in_a_replica() -> None:
    [load] = checked(named("Signalling"), code=7)["checks"]
    assert (load["name"], load["state"]) == ("load", "wrong")
    assert "signal only works in main thread" in load["said"]


def test_a_module_that_is_not_there() -> None:
    [load] = checked("no.such:Engine", code=7)["checks"]
    assert "there is no module no; put it on the Python path" in load["said"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["engine.py"], "is neither `package.module:Class` nor `nemo`"),
        (["a.b:C", "--path", "gone"], "--path gone: there is no such file or folder"),
        (["a.b:C", "--option", "level"], "--option level: give KEY=VALUE"),
        (["a.b:C", "--option", "level={"], "--option level={: the value is not valid YAML"),
    ],
)
def test_a_wrong_command_line_ends_with_2(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = chorus("engine", "check", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.nemo
@pytest.mark.slow
@pytest.mark.parametrize("engine", ["nemo", "serve_app.engines.nemo.engine:NemoEngine"])
def test_the_engine_that_is_built_in_has_nothing_wrong(engine: str) -> None:
    found = checked(engine, "--path", MODELS / "medical.nemo", code=0, cwd=ROOT)
    assert found["wrong"] == 0
    assert [each["name"] for each in found["checks"]] == list(NAMES)
