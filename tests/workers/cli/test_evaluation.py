"""`chorus benchmark`, `compare` and `validate` as a user runs them, with the shipped models."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import soundfile

from deploy.demo import MODELS, SPEECH
from deploy.local import CHORUS, ROOT
from workers import exit_codes

pytestmark = [pytest.mark.nemo, pytest.mark.slow, pytest.mark.timeout(300)]

NAMES = ("general", "medical", "legal", "telephony", "noisy")
FIVE = [str(MODELS / f"{name}.nemo") for name in NAMES]
SETS = ["-m", str(SPEECH / "medical.jsonl"), "-m", str(SPEECH / "calls.jsonl")]


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CHORUS, *arguments], cwd=cwd, capture_output=True, text=True)


def figures(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def rows(work: Path) -> int:
    """Finished utterances."""
    files = [path for path in work.glob("*/*.jsonl") if path.name != "runs.jsonl"]
    return sum(path.read_bytes().count(b"\n") for path in files)


def test_a_comparison_that_was_killed_does_what_was_left(tmp_path: Path) -> None:
    work = tmp_path / "work"
    arguments = ["compare", *FIVE, *SETS, "--work", str(work)]
    process = subprocess.Popen(
        [*CHORUS, *arguments], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while rows(work) < 200 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = rows(work)
    assert 200 <= before < 400
    again = run(*arguments, "--report", "report.html", "--csv", "table.csv", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    told = dict(re.findall(r"(\w+): (\d+) of 80 utterances are done", again.stderr))
    assert sum(map(int, told.values())) == before
    assert rows(work) == 400
    found = figures(again)
    assert found["sets"] == {"medical": 40, "calls": 40}
    wer = found["wer"]
    assert min(wer, key=lambda name: wer[name]["medical"]) == "medical"
    assert min(wer, key=lambda name: wer[name]["calls"]) == "telephony"
    assert "medical is better than general by" in again.stdout
    assert (tmp_path / "table.csv").read_text().count("\n") == 11
    assert "<html" in (tmp_path / "report.html").read_text()
    assert str(tmp_path) not in again.stdout


def test_a_validation_gates_by_its_exit_code(tmp_path: Path) -> None:
    arguments = ["validate", FIVE[0], "-m", str(SPEECH / "general.jsonl"), "--stressed", "0"]
    arguments += ["--work", "work"]
    passed = run(*arguments, "--max-wer", "20", "-o", "found.json", cwd=tmp_path)
    assert passed.returncode == 0, passed.stderr
    assert figures(passed)["passed"] is True
    assert json.loads((tmp_path / "found.json").read_text())["findings"]["score"]["wer"] < 20
    failed = run(*arguments, "--max-wer", "0.1", cwd=tmp_path)
    assert failed.returncode == exit_codes.NOT_PASSED
    assert figures(failed)["failed_checks"] == ["max_wer"]


def test_thresholds_are_in_the_settings(tmp_path: Path) -> None:
    demo = (ROOT / "deploy" / "demo" / "chorus.yaml").read_text()
    demo = demo.replace("models/", f"{MODELS}/").replace("[speech]", f"[{SPEECH}]")
    (tmp_path / "chorus.yaml").write_text(demo + "\nvalidation: {max_slice_wer: {shrot: 5}}\n")
    arguments = ["validate", "general", "-m", str(SPEECH / "general.jsonl"), "--stressed", "0"]
    typo = run(*arguments, cwd=tmp_path)
    assert typo.returncode == exit_codes.SETTINGS
    assert "validation.max_slice_wer: there is no shrot; there are: short, long" in typo.stderr


def test_all_that_is_wrong_with_a_manifest_is_told_before_a_model_is_loaded(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", [0.1] * 16_000, 16_000)
    lines = [
        {"audio_filepath": "a.wav", "text": "a"},
        {"audio_filepath": "gone.wav", "text": "b"},
        {"audio_filepath": "a.wav", "text": "c", "duration": 9},
    ]
    (tmp_path / "bad.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = run("compare", FIVE[0], "-m", "bad.jsonl", cwd=tmp_path)
    assert done.returncode == exit_codes.SETTINGS
    assert "bad.jsonl:2: gone.wav: no such file" in done.stderr
    assert "bad.jsonl:3: a.wav: `duration` says 9 s" in done.stderr
    assert "2 faults" in done.stderr
    assert "Traceback" not in done.stderr
    gone = run("benchmark", "gone.nemo", "-m", str(SPEECH / "general.jsonl"), cwd=tmp_path)
    assert gone.returncode == exit_codes.SETTINGS
    assert "gone.nemo: no such model file" in gone.stderr


def test_the_benchmark_of_the_engine(tmp_path: Path) -> None:
    arguments = ["benchmark", FIVE[0], "-m", str(SPEECH / "general.jsonl"), "--path", "engine"]
    done = run(*arguments, "--repeats", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = figures(done)["general"]["engine"]
    assert found["rtfx"] > 1
    assert found["harness_percent"] < 2
    assert "Open ASR Leaderboard" in " ".join(done.stdout.split())


def test_a_calibration_is_learned_and_named_in_the_settings(tmp_path: Path) -> None:
    arguments = ["calibrate", *FIVE[:2], "-m", str(SPEECH / "general.jsonl")]
    done = run(*arguments, "-m", str(SPEECH / "medical.jsonl"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = figures(done)
    assert found["ece_after"] < found["ece_before"]
    assert found["wer_rover"] < found["wer_best_single"]
    models = {name: {"path": str(MODELS / f"{name}.nemo")} for name in NAMES[:2]}
    settings = {
        "models": models,
        "plans": {"vote": {"ensemble": list(models)}},
        "routing": {"default": "vote", "calibration": "calibration.json"},
        "audio": {"roots": [str(SPEECH)]},
    }
    (tmp_path / "chorus.yaml").write_text(json.dumps(settings))  # JSON is YAML
    assert run("check", "chorus.yaml", cwd=tmp_path).returncode == 0
    (tmp_path / "calibration.json").unlink()
    missing = run("check", "chorus.yaml", cwd=tmp_path)
    assert missing.returncode == exit_codes.SETTINGS
    assert "routing.calibration: no such file: calibration.json" in missing.stderr


def test_the_script_of_the_docs(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "evaluation.md").read_text()
    (script,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    (tmp_path / "notebook.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "notebook.py"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "comparison.json").exists()
    legal, medical = re.findall(r"^nemo +([\d.]+) +([\d.]+)$", done.stdout, re.MULTILINE)[0]
    assert float(legal) < 10 < float(medical)
