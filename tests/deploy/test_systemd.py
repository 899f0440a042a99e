"""The units say what the commands, the settings and the exit codes say."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
from typer.main import get_command

from deploy.local import ROOT
from schemas.settings import HttpSettings, StreamSettings
from serve_app.cluster import access
from workers import exit_codes
from workers.cli import app

UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))
SERVE, STREAM = "chorus-serve.service", "chorus-stream@.service"


def read(name: str) -> dict[str, str]:
    """The keys of a unit; the values of one that is repeated are joined."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in (ROOT / "deploy/systemd" / name).read_text().splitlines():
        key, is_key, value = line.partition("=")
        if is_key and not line.startswith("#"):
            found[key].append(value)
    return {key: " ".join(values) for key, values in found.items()}


def codes(text: str) -> set[int]:
    return {int(each) for each in text.split()}


def test_they_are_all_here() -> None:
    assert [unit.name for unit in UNITS] == [SERVE, STREAM]


def test_what_cannot_help_is_not_started_again() -> None:
    serve, stream = read(SERVE), read(STREAM)
    assert codes(serve["RestartPreventExitStatus"]) == {exit_codes.SETTINGS}
    assert codes(stream["RestartPreventExitStatus"]) == {
        exit_codes.SETTINGS,
        exit_codes.DEAD_LETTER_LIMIT,
        exit_codes.LOG_CHANGED,
    }
    assert codes(serve["SuccessExitStatus"]) == {exit_codes.INTERRUPTED, exit_codes.TERMINATED}


def test_a_stop_waits_for_what_is_under_way() -> None:
    http, stream = HttpSettings(), StreamSettings()
    assert float(read(STREAM)["TimeoutStopSec"]) > stream.drain_timeout_s
    assert float(read(SERVE)["TimeoutStopSec"]) >= 60 + stream.drain_timeout_s + http.timeout_s


@pytest.mark.parametrize("unit", [SERVE, STREAM])
def test_the_command_is_one_that_chorus_takes(unit: str) -> None:
    program, command, *arguments = shlex.split(read(unit)["ExecStart"])
    assert program == "/opt/chorus/bin/chorus"
    known = get_command(app).commands[command]  # type: ignore[attr-defined]
    options = {option for parameter in known.params for option in parameter.opts}
    assert {each for each in arguments if each.startswith("-")} <= options


def test_workers_find_the_models_of_this_machine() -> None:
    """By files and sockets in a folder that both may write, short enough for sockets."""
    serve, stream = (
        dict(each.split("=") for each in shlex.split(unit["Environment"]))
        for unit in (read(SERVE), read(STREAM))
    )
    assert {key: serve[key] for key in ("HOME", "RAY_TMPDIR")} == stream
    assert serve["RAY_TMPDIR"] == f"/var/lib/{read(SERVE)['StateDirectory']}"
    longest = f"{serve['RAY_TMPDIR']}/chorus-ray-65533/ray{access._SESSION_SOCKET}"
    assert len(longest) <= access._SOCKET_PATH_BYTES


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_takes_them(tmp_path: Path) -> None:
    names = []
    for unit in UNITS:  # the program is not installed on this machine
        text = unit.read_text().replace("ExecStart=/opt/chorus/bin/chorus", "ExecStart=/bin/true")
        name = unit.name.replace("@", "@0")
        (tmp_path / name).write_text(text)
        names.append(f"./{name}")
    command = ["systemd-analyze", "verify", "--man=no", *names]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
