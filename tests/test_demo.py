"""`make demo`, as a newcomer runs it: real speech, real models, a real broker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from deploy.local import ROOT

MARK = "CHORUS_TEST_RUN"

pytestmark = [pytest.mark.kafka, pytest.mark.ray, pytest.mark.nemo, pytest.mark.slow]


def start_demo(mark: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "deploy.demo"],
        cwd=ROOT,
        env={**os.environ, MARK: mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def left_running(mark: str) -> list[str]:
    """Names of the processes that a demo started and that still run: children inherit its mark."""
    names = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark:
                names.append(process.name())
        except psutil.Error:
            continue
    return names


def wait_until_gone(mark: str) -> list[str]:
    deadline = time.monotonic() + 20  # Ray's helpers end a moment after Ray
    while (names := left_running(mark)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return names


def test_demo_transcribes_everything_and_leaves_nothing_behind() -> None:
    demo = start_demo("whole")
    output, _ = demo.communicate(timeout=280)
    assert demo.returncode == 0, output
    figures = json.loads(output.splitlines()[-1])
    assert figures["transcribed"] == figures["records"] - 1
    assert figures["dead_lettered"] == 1
    assert figures["models"] == {
        "general": ["general"],
        "medical": ["medical"],
        "legal": ["legal"],
        "calls": ["telephony"],
        "noisy": ["noisy"],
    }
    assert {rule: set(models) for rule, models in figures["routes"].items()} == {
        "default": {"general"},
        "short": {"general"},
        "medical": {"medical"},
        "legal": {"legal"},
        "telephone": {"telephony"},
        "noise": {"noisy"},
    }
    # far above what the models reach, far below what a wrong model or wrong text would give
    assert all(wer < 20 for wer in figures["wer"].values()), figures
    assert "broken-on-purpose, poison/audio_missing" in output
    assert wait_until_gone("whole") == []


def test_ctrl_c_stops_the_demo_and_all_it_started() -> None:
    demo = start_demo("interrupted")
    assert demo.stdout is not None
    begun = next((line for line in demo.stdout if "Apache Kafka" in line), "")
    assert begun, "it ended before Kafka was up"
    demo.send_signal(signal.SIGINT)  # in the middle of starting models
    output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 130, output
    assert "Traceback" not in output
    assert wait_until_gone("interrupted") == []
