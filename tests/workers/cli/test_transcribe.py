"""`chorus transcribe` with models of its own, as a shell has it; the engine is a stand-in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploy.local import CHORUS, ROOT
from tests.workers.stream.support import wait_until, write_clip
from workers import exit_codes

pytestmark = pytest.mark.slow

STARTED = "starting the models"


class Shell:
    """A folder with settings whose engine waits while there is a file `gate`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        options = {"gate": f"{folder}/gate", "events": f"{folder}/events"}
        engine = {"engine": "tests.standin:StandInEngine", "num_cpus": 0.1, "options": options}
        settings = {
            "models": {"general": engine},
            "routing": {"default": "general"},
            "audio": {"roots": ["roots"]},
            "serve": {"router_num_cpus": 0.1},
        }
        (folder / "roots").mkdir()
        (folder / "chorus.yaml").write_text(json.dumps(settings))

    def start(self, *arguments: str, text: str | None = None) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*CHORUS, "transcribe", *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if text is not None and process.stdin is not None:
            process.stdin.write(text)
            process.stdin.close()
            process.stdin = None
        return process

    def run(self, *arguments: str, text: str | None = None) -> tuple[int, str, str]:
        process = self.start(*arguments, text=text)
        output, errors = process.communicate(timeout=120)
        assert "Traceback" not in errors
        return process.returncode, output, errors


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.ray
def test_a_run_that_is_ended_goes_on_and_tells_what_is_left(shell: Shell) -> None:
    folder = shell.folder
    said = write_clip(folder / "a.wav")
    elsewhere = write_clip(folder / "roots" / "b.wav")
    write_clip(folder / "roots" / "a.wav")  # another one, which is not meant
    names = ("a.wav", "b.wav", "c.wav")
    manifest = "".join(json.dumps({"audio_filepath": name}) + "\n" for name in names)
    (folder / "in.jsonl").write_text(manifest)

    (folder / "gate").touch()
    process = shell.start("in.jsonl", "-o", "out.jsonl", "--json")
    wait_until((folder / "events").exists)
    busy = shell.run("in.jsonl", "-o", "out.jsonl")
    assert busy[0] == exit_codes.SETTINGS
    assert "out.jsonl: another `chorus transcribe` is writing it" in busy[2]
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == exit_codes.TERMINATED, errors
    assert "interrupted; the same command resumes" in errors
    assert "SIGTERM received" not in errors

    (folder / "gate").unlink()
    code, output, errors = shell.run("in.jsonl", "-o", "out.jsonl", "--json")
    assert code == exit_codes.PARTIAL, errors
    found = lines((folder / "out.jsonl").read_text())
    assert [line.get("pred_text") for line in found] == [said, elsewhere, None]
    assert [line["audio_filepath"] for line in found] == list(names)
    assert (json.loads(output)["transcribed"], json.loads(output)["failed"]) == (2, 1)

    again = write_clip(folder / "c.wav")
    code, output, errors = shell.run("-", "-o", "-", text=manifest)
    assert code == 0, errors
    assert [line["pred_text"] for line in lines(output)] == [said, elsewhere, again]
    assert "3 transcribed, 0 failed" in errors

    code, output, errors = shell.run("in.jsonl", "-o", "out.jsonl", "--json")
    assert code == 0, errors
    assert (json.loads(output)["resumed"], json.loads(output)["transcribed"]) == (2, 1)
    code, output, errors = shell.run("in.jsonl", "-o", "out.jsonl", "--json")
    assert code == 0, errors
    assert json.loads(output)["resumed"] == 3
    assert STARTED not in errors


@pytest.mark.ray
def test_what_goes_to_standard_output_begins_anew_after_an_interruption(shell: Shell) -> None:
    write_clip(shell.folder / "a.wav")
    (shell.folder / "gate").touch()
    process = shell.start("-", "-o", "-", text='{"audio_filepath": "a.wav"}')
    wait_until((shell.folder / "events").exists)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == exit_codes.INTERRUPTED, errors
    assert "interrupted; the output is no file, so the same command begins from" in errors


@pytest.mark.parametrize(
    ("arguments", "text", "error"),
    [
        (["none.jsonl", "-o", "out.jsonl"], "", "none.jsonl: No such file"),
        (["in.jsonl", "-o", "in.jsonl"], "", "in.jsonl: is the manifest itself"),
        (["in.jsonl", "-o", "chorus.yaml"], "", "is not the output for this manifest"),
        (["in.jsonl", "-o", "none/out.jsonl"], "", "none/out.jsonl: there is no folder"),
        (["in.jsonl", "-o", "roots"], "", "roots: is a folder"),
        (["-", "-o", "out.jsonl"], "[{}]", "-: is a JSON array"),
    ],
)
def test_what_cannot_be_is_said_before_anything_starts(
    shell: Shell, arguments: list[str], text: str, error: str
) -> None:
    (shell.folder / "in.jsonl").write_text('{"audio_filepath": "a.wav"}\n')
    before = sorted(path.name for path in shell.folder.iterdir())
    code, _, errors = shell.run(*arguments, text=text)
    assert code == exit_codes.SETTINGS
    assert error in errors
    assert STARTED not in errors
    assert sorted(path.name for path in shell.folder.iterdir()) == before
