"""`chorus console` as a process."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.workers.cli.shell import chorus
from tests.workers.stream.support import wait_until
from workers import exit_codes
from workers.broker.ports import free_ports
from workers.cli.console import console_beside


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    path = tmp_path / "chorus.yaml"
    path.write_text(
        "models: {a: {engine: 'tests.standin:StandInEngine'}}\n"
        "routing: {default: a}\naudio: {roots: ['.']}\n"
        "kafka: {bootstrap_servers: ['127.0.0.1:1']}\n"
    )
    return path


@pytest.fixture
def process(settings_file: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "workers.cli", "console", "--port", "0"]
    running = subprocess.Popen(
        [*command, "--settings", str(settings_file)], stdout=subprocess.PIPE, text=True
    )
    yield running
    running.kill()
    running.wait(30)
    assert running.stdout is not None
    running.stdout.close()


@pytest.mark.slow
def test_it_serves_without_kafka_and_ends_with_pages_open(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    url = process.stdout.readline().strip().removeprefix("console at ")
    assert httpx.get(f"{url}/live", timeout=30).status_code == 200
    with httpx.stream("GET", f"{url}/live/events", timeout=30) as events:
        lines = events.iter_lines()
        while '"fault":"no Kafka broker answers' not in next(lines):
            pass
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) in (-signal.SIGTERM, exit_codes.TERMINATED)


def test_an_address_that_is_taken_is_named(settings_file: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        done = chorus("console", "--port", str(port), "--settings", settings_file)
    assert done.returncode == exit_codes.FAILURE
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr


def test_it_refuses_to_stand_open(settings_file: Path) -> None:
    settings_file.write_text(f"{settings_file.read_text()}console: {{host: 0.0.0.0}}\n")
    done = chorus("console", "--settings", settings_file)
    assert done.returncode == exit_codes.SETTINGS
    assert "without `console.keys`" in done.stderr
    checked = chorus("check", settings_file)
    assert "console.host: `chorus console` will refuse this" in checked.stderr


@pytest.mark.slow
def test_one_beside_something_else_ends_with_it(settings_file: Path) -> None:
    [port] = free_ports(1)
    settings_file.write_text(f"{settings_file.read_text()}console: {{port: {port}}}\n")
    url = f"http://127.0.0.1:{port}/live"

    def answers() -> bool:
        try:
            return httpx.get(url).status_code == 200
        except httpx.ConnectError:
            return False

    with console_beside(settings_file):
        wait_until(answers)
    assert not answers()
    with console_beside(None):
        assert not answers()


@pytest.mark.slow
def test_its_pages_need_no_runtime_of_models() -> None:
    code = (
        "import sys; import workers.console.all_pages\n"
        "sys.exit(' '.join({'torch', 'nemo', 'ray', 'transformers'} & sys.modules.keys()) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
