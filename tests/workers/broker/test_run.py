"""The broker in the foreground, as `chorus broker` runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.processes import command_of
from workers.kafka.topics import ensure_topics

pytestmark = pytest.mark.kafka

SCRIPT = """
import sys
from pathlib import Path
from workers.broker.run import run_broker
run_broker(ready_file=Path(sys.argv[1]))
"""


@pytest.fixture
def ready_file(tmp_path: Path) -> Path:
    return tmp_path / "ready.json"


@pytest.fixture
def started(ready_file: Path) -> Iterator[subprocess.Popen[str]]:
    """The command, on its way."""
    command = [sys.executable, "-c", SCRIPT, str(ready_file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.fixture
def ready(started: subprocess.Popen[str], ready_file: Path) -> subprocess.Popen[str]:
    """The command, ready."""
    wait_until(ready_file.exists, started)
    return started


def wait_until(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 100
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


def brokers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The Kafkas that it runs."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "kafka.Kafka" in command_of(child)]


def test_ctrl_c_stops_it(ready: subprocess.Popen[str], ready_file: Path) -> None:
    said = json.loads(ready_file.read_text())
    assert said["pid"] == ready.pid
    (bootstrap,) = said["bootstrap_servers"]
    assert ensure_topics(bootstrap, {"records": 1}) == {"records": 1}
    (broker,) = brokers_of(ready)
    ready.send_signal(signal.SIGINT)
    printed, _ = ready.communicate(timeout=30)
    assert ready.returncode == 0
    assert len(printed.splitlines()) == 1
    assert bootstrap in printed
    assert not broker.is_running()
    assert not ready_file.exists()


def test_sigterm_stops_it_while_it_starts(started: subprocess.Popen[str], ready_file: Path) -> None:
    wait_until(lambda: brokers_of(started), started)
    (broker,) = brokers_of(started)
    started.terminate()
    printed, _ = started.communicate(timeout=30)
    assert started.returncode == 0
    assert printed == ""
    assert not broker.is_running()
    assert not ready_file.exists()


def test_killed_it_leaves_no_broker(ready: subprocess.Popen[str]) -> None:
    brokers = brokers_of(ready)
    assert len(brokers) == 1
    ready.kill()
    gone, alive = psutil.wait_procs(brokers, timeout=10)
    assert (len(gone), len(alive)) == (1, 0)
