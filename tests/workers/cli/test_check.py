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
    assert as_json == {"models": ["general"], "plans": [], "rules": {"default": "general"}}


def test_a_wrong_key_is_one_clear_error(settings_file: Path):
    settings_file.write_text(settings_file.read_text() + "strem: {}\n")
    done = chorus("check", settings_file)
    assert done.returncode == 2
    assert "strem" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["chorus.yaml", "plans.yaml"])
def test_the_demo_settings_are_right(name: str):
    assert chorus("check", f"deploy/demo/{name}").returncode == 0


def test_explain_shows_what_the_rules_make_of_records():
    arguments = ["deploy/demo/speech/calls.jsonl", "-s", "deploy/demo/plans.yaml"]
    told = chorus("explain", *arguments)
    assert told.returncode == 0
    assert "telephony-first, by rule telephone" in told.stdout
    assert "telephone: audio.bandwidth_hz below 4000" in told.stdout
    lines = chorus("explain", *arguments, "--json").stdout.splitlines()
    assert len(lines) == 40
    assert {json.loads(line)["rule"] for line in lines} == {"telephone"}


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
