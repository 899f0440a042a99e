"""The commands that need neither Kafka nor Ray, as a shell sees them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).resolve().parents[3]


def chorus(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "workers.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    path = tmp_path / "chorus.yaml"
    path.write_text(
        "models: {general: {engine: 'tests.standin:StandInEngine'}}\n"
        "routing: {default: general}\n"
        "audio: {roots: ['.']}\n"
    )
    return path


def test_right_settings(settings_file: Path):
    done = chorus("check", settings_file)
    assert (done.returncode, done.stderr) == (0, "")
    assert "general" in done.stdout
    as_json = json.loads(chorus("check", settings_file, "--json").stdout)
    assert as_json == {"models": ["general"], "rules": {"default": "general"}}


def test_a_wrong_key_is_one_clear_error(settings_file: Path):
    settings_file.write_text(settings_file.read_text() + "strem: {}\n")
    done = chorus("check", settings_file)
    assert done.returncode == 2
    assert "strem" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_demo_settings_are_right():
    assert chorus("check", "deploy/demo/chorus.yaml").returncode == 0


def test_schema_of_one_contract():
    schema = json.loads(chorus("schema", "manifest").stdout)
    jsonschema.validate({"audio_filepath": "a.wav"}, schema)


def test_an_unknown_contract_names_the_known_ones():
    done = chorus("schema", "manifst")
    assert done.returncode == 2
    assert "manifest" in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "serve", "stream", "produce", "tail", "transcribe", "check", "schema", "broker", "topics",
        "dead-letters list", "dead-letters show", "dead-letters replay",
    ],
)  # fmt: skip
def test_every_command_has_help(command: str):
    done = chorus(*command.split(), "--help")
    assert done.returncode == 0
    assert "--help" in done.stdout
