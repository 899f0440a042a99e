"""`chorus benchmark`, `compare` and `validate` as a user runs them, with the shipped models.

What a command imports, and when, is real where `run` starts it. `commands` starts those whose
start is told there already.
"""

from __future__ import annotations

import json
import os
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
from tests.commands import Commands
from tests.workers.cli.shell import chorus
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


def test_a_comparison_that_was_killed_does_what_was_left(
    commands: Commands, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    arguments = ["compare", *FIVE, *SETS, "--work", str(work)]
    process = commands.start("workers.cli", *arguments, cwd=tmp_path)
    while rows(work) < 200 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = rows(work)
    assert 200 <= before < 400
    files = ["--report", "report.html", "--csv", "table.csv"]
    again = commands.run("workers.cli", *arguments, *files, cwd=tmp_path)
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


def test_a_validation_gates_by_its_exit_code(commands: Commands, tmp_path: Path) -> None:
    arguments = [
        "workers.cli",
        "validate",
        FIVE[0],
        "-m",
        str(SPEECH / "general.jsonl"),
        "--stressed",
        "0",
    ]
    arguments += ["--work", "work"]
    passed = commands.run(*arguments, "--max-wer", "20", "-o", "found.json", cwd=tmp_path)
    assert passed.returncode == 0, passed.stderr
    assert figures(passed)["passed"] is True
    assert json.loads((tmp_path / "found.json").read_text())["findings"]["score"]["wer"] < 20
    failed = commands.run(*arguments, "--max-wer", "0.1", cwd=tmp_path)
    assert failed.returncode == exit_codes.NOT_PASSED
    assert figures(failed)["failed_checks"] == ["max_wer"]


def test_a_model_that_is_worse_than_its_baseline_does_not_pass(
    commands: Commands, tmp_path: Path
) -> None:
    arguments = ["-m", str(SPEECH / "general.jsonl"), "--stressed", "0", "--work", "work"]
    validate = ["workers.cli", "validate"]
    worse = commands.run(*validate, FIVE[1], "--baseline", FIVE[0], *arguments, cwd=tmp_path)
    assert worse.returncode == exit_codes.NOT_PASSED, worse.stderr
    assert "max_wer_increase" in figures(worse)["failed_checks"]
    assert figures(worse)["baseline_wer"] < figures(worse)["wer"]
    assert "baseline general: WER " in worse.stdout
    better = commands.run(*validate, FIVE[0], "--baseline", FIVE[1], *arguments, cwd=tmp_path)
    assert "max_wer_increase" not in figures(better)["failed_checks"]
    same = commands.run(*validate, FIVE[0], "--baseline", FIVE[0], *arguments, cwd=tmp_path)
    assert same.returncode == exit_codes.SETTINGS
    assert "two models have the same name" in same.stderr


def test_thresholds_are_in_the_settings(commands: Commands, tmp_path: Path) -> None:
    demo = (ROOT / "deploy" / "demo" / "chorus.yaml").read_text()
    demo = demo.replace("models/", f"{MODELS}/").replace("[speech]", f"[{SPEECH}]")
    (tmp_path / "chorus.yaml").write_text(demo + "\nvalidation: {max_slice_wer: {shrot: 5}}\n")
    arguments = ["validate", "general", "-m", str(SPEECH / "general.jsonl"), "--stressed", "0"]
    typo = commands.run("workers.cli", *arguments, cwd=tmp_path)
    assert typo.returncode == exit_codes.SETTINGS
    assert "validation.max_slice_wer: unknown name shrot; known are: short, long" in typo.stderr


def test_all_that_is_wrong_with_a_manifest_is_told_before_a_model_is_loaded(
    commands: Commands, tmp_path: Path
) -> None:
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
    arguments = ["compare", FIVE[0], "-m", "bad.jsonl", "--csv", "bad.jsonl"]
    over = commands.run("workers.cli", *arguments, cwd=tmp_path)
    assert over.returncode == exit_codes.SETTINGS
    assert "bad.jsonl: is a test set; name another file" in over.stderr
    arguments[-1] = "gone/out.csv"
    nowhere = commands.run("workers.cli", *arguments, cwd=tmp_path)
    assert nowhere.returncode == exit_codes.SETTINGS
    assert "gone/out.csv: there is no folder gone" in nowhere.stderr
    arguments = ["benchmark", "gone.nemo", "-m", str(SPEECH / "general.jsonl")]
    gone = commands.run("workers.cli", *arguments, cwd=tmp_path)
    assert gone.returncode == exit_codes.SETTINGS
    assert "gone.nemo: no such model file" in gone.stderr


def test_a_pretrained_model_is_taken_from_the_cache_of_its_hub(tmp_path: Path) -> None:
    revision = "0123456789abcdef0123456789abcdef01234567"
    model = tmp_path / "hub" / "models--org--tiny"
    (model / "snapshots" / revision).mkdir(parents=True)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(revision)
    (model / "snapshots" / revision / "tiny.nemo").symlink_to(MODELS / "medical.nemo")
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}

    def compare(name: str) -> subprocess.CompletedProcess[str]:
        command = [*CHORUS, "compare", name, "-m", str(SPEECH / "medical.jsonl")]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    found = compare("pretrained:org/tiny")
    assert found.returncode == 0, found.stderr
    assert figures(found)["wer"]["tiny"]["medical"] < 5
    for name, reason in {
        "pretrained:org/none": "pretrained model 'org/none': cannot be downloaded",
        "pretrained:stt_en_fastconformer_ctc_larg": "mean `stt_en_fastconformer_ctc_large`?",
    }.items():
        wrong = compare(name)
        assert wrong.returncode == exit_codes.SETTINGS
        assert reason in wrong.stderr
        assert "Traceback" not in wrong.stderr


def test_the_benchmark_of_the_engine(commands: Commands, tmp_path: Path) -> None:
    arguments = ["benchmark", FIVE[0], "-m", str(SPEECH / "general.jsonl"), "--path", "engine"]
    done = commands.run("workers.cli", *arguments, "--repeats", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = figures(done)["general"]["engine"]
    assert found["rtfx"] > 1
    assert found["harness_percent"] < 2
    assert "Open ASR Leaderboard" in " ".join(done.stdout.split())


def test_a_calibration_is_learned_and_named_in_the_settings(
    commands: Commands, tmp_path: Path
) -> None:
    arguments = ["calibrate", *FIVE[:2], "-m", str(SPEECH / "general.jsonl")]
    arguments += ["-m", str(SPEECH / "medical.jsonl")]
    done = commands.run("workers.cli", *arguments, cwd=tmp_path)
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
    assert chorus("check", "chorus.yaml", cwd=tmp_path).returncode == 0
    (tmp_path / "calibration.json").unlink()
    missing = chorus("check", "chorus.yaml", cwd=tmp_path)
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
