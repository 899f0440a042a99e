"""Training with real NeMo on the shipped speech: tiny, and killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.nemo, pytest.mark.slow, pytest.mark.timeout(900)]

#: Trains a fresh model for nine steps in rounds of three; prints a digest of its weights.
TRAIN = """
import hashlib, sys
from pathlib import Path
import torch
import deploy.demo
from deploy.demo.train.data import Source, read_clips
from deploy.demo.train.fit import Hyperparameters, fit
from deploy.demo.train.models import fresh_model, open_model, save_model
torch.set_num_threads(1)
torch.manual_seed(0)
speech, out = Path(deploy.demo.__file__).parent / "speech", Path(sys.argv[1])
clips = read_clips(speech / "general.jsonl")
model = fresh_model([clip.text for clip in clips] * 3, 64, out / "tokenizer")
hyper = Hyperparameters(steps=9, learning_rate=2e-3, round_steps=3, short_steps=2,
                        batch_seconds=24)
sources = [Source(speech / "general.jsonl", 0.9), Source(speech / "medical.jsonl", 0.1, limit=9)]
fit(model, sources, speech / "legal.jsonl", hyper, out / "run")
weights = b"".join(w.detach().numpy().tobytes() for w in model.parameters())
save_model(model, out / "model.nemo")
assert next(open_model(out / "model.nemo").parameters()).dtype == torch.float32
print(hashlib.sha256(weights).hexdigest())
"""


def start(folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def finish(process: subprocess.Popen[str]) -> str:
    output, errors = process.communicate(timeout=800)
    assert process.returncode == 0, errors[-2000:]
    return output.splitlines()[-1]


def steps(folder: Path) -> list[int]:
    lines = (folder / "run" / "progress.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines]


def test_a_killed_training_goes_on_to_the_same_model(tmp_path: Path) -> None:
    unbroken = start(tmp_path / "unbroken")
    killed = start(tmp_path / "killed")
    while not (tmp_path / "killed" / "run" / "last.ckpt").exists():
        assert killed.poll() is None
        time.sleep(0.02)
    time.sleep(0.1)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    resumed = start(tmp_path / "killed")
    assert finish(resumed) == finish(unbroken)
    assert steps(tmp_path / "killed")[-1] == steps(tmp_path / "unbroken")[-1] == 9
    assert (tmp_path / "unbroken" / "model.nemo").stat().st_size < 4e6
