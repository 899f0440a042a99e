"""The engine of docs/engines.md, as it is written there: checked, and in an ensemble."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from deploy.demo import SPEECH
from deploy.local import CHORUS, ROOT
from tests.workers.cli.shell import chorus

PAGE = (ROOT / "docs/engines.md").read_text()
[PROGRAM] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
[WEIGHTS] = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
[(COMMAND, PRINTED)] = re.findall(
    r"```bash\n(chorus engine [^\n]*)\n```\n\nholds[^\n]*\n\n```\n(.*?)```", PAGE, re.DOTALL
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sounds.py").write_text(PROGRAM)
    (tmp_path / "sounds-v1").mkdir()
    (tmp_path / "sounds-v1/sounds.json").write_text(WEIGHTS)
    return tmp_path


def test_it_is_short() -> None:
    assert len(PROGRAM.splitlines()) <= 40


def same_on_every_machine(text: str) -> list[list[str]]:
    return [re.sub(r"[\d.]+ MiB", "SIZE", line).split() for line in text.splitlines()]


def test_the_check_prints_what_the_page_says(folder: Path) -> None:
    done = chorus(*COMMAND.split()[1:], cwd=folder)
    assert done.returncode == 0, done.stdout
    assert same_on_every_machine(done.stdout) == same_on_every_machine(PRINTED)


@pytest.mark.ray
@pytest.mark.slow
def test_it_serves_in_an_ensemble_as_a_version_of_a_registry(folder: Path) -> None:
    [register] = re.findall(r"```bash\n(chorus models register [^\n]*)\n```", PAGE)
    [served] = [each for each in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if "@" in each]
    settings = yaml.safe_load(served)
    settings["models"]["other"] = {"engine": "tests.standin:StandInEngine"}
    for model in settings["models"].values():
        model["num_cpus"] = 0.1
    settings |= {
        "plans": {"both": {"ensemble": ["sounds", "other"]}},
        "routing": {"default": "both"},
        "audio": {"roots": ["/"]},
        "serve": {"router_num_cpus": 0.1},
    }
    (folder / "chorus.yaml").write_text(json.dumps(settings))
    clip = next((SPEECH / "medical").glob("*.opus"))
    (folder / "in.jsonl").write_text(json.dumps({"audio_filepath": str(clip)}) + "\n")
    run(folder, register)
    run(folder, "chorus models promote sounds:1")
    run(folder, "chorus transcribe in.jsonl --output out.jsonl")
    [line] = map(json.loads, (folder / "out.jsonl").read_text().splitlines())
    assert line["ensemble_model_count"] == 2
    assert set(line["pred_text_sounds"].split()) <= set(json.loads(WEIGHTS))
    assert line["pred_text_sounds"]
    assert line["pred_text_other"]


def run(folder: Path, command: str) -> None:
    """As a shell does, in the folder that the engine is in."""
    done = subprocess.run(
        [*CHORUS, *shlex.split(command)[1:]],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
