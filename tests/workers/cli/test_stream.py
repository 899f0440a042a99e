"""`chorus stream` where there is no application for it."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.local import CHORUS
from schemas.settings import load_settings, settings_digest
from serve_app.cluster.announcements import announced
from workers import exit_codes
from workers.broker.ports import free_ports

pytestmark = pytest.mark.slow  # starts the command

SETTINGS = """
models: {general: {engine: "tests.standin:StandInEngine"}}
routing: {default: general}
audio: {roots: ["."]}
serve: {app: alone}
"""


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "chorus.yaml").write_text(SETTINGS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def stream(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CHORUS, "stream", *arguments], capture_output=True, text=True, timeout=60
    )


def test_an_address_of_nobody_is_unreachable() -> None:
    [port] = free_ports(1)
    done = stream("--address", f"127.0.0.1:{port}")
    assert done.returncode == exit_codes.UNREACHABLE, done.stderr
    assert f"error: no Ray cluster answers at 127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_an_address_any_cluster_is_not_good_enough() -> None:
    done = stream()
    assert done.returncode == exit_codes.UNREACHABLE, done.stderr
    assert "error: no `chorus serve` with the application `alone` runs on this machine" in (
        done.stderr
    )


def test_an_application_with_other_settings_is_refused() -> None:
    with announced("alone", "another digest", "127.0.0.1:1"):
        done = stream()
    assert done.returncode == exit_codes.SETTINGS, done.stderr
    assert "runs with other models, plans, rules or limits" in done.stderr


def test_an_application_with_other_settings_that_starts_is_refused() -> None:
    with announced("alone", "another digest"):
        done = stream()
    assert done.returncode == exit_codes.SETTINGS, done.stderr


@contextmanager
def waiting() -> Iterator[subprocess.Popen[str]]:
    """A worker that waits for the application which is announced."""
    with subprocess.Popen([*CHORUS, "stream"], stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert any("waiting for it" in line for line in process.stderr)
            yield process
        finally:
            process.kill()


def test_an_application_that_starts_is_waited_for_until_that_ends() -> None:
    digest = settings_digest(load_settings("chorus.yaml"))
    with announced("alone", digest) as announcer, waiting() as process:
        announcer.withdraw()
        _, said = process.communicate(timeout=30)
    assert process.returncode == exit_codes.UNREACHABLE
    assert "no `chorus serve` with the application `alone` runs" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_worker_that_waits_ends_in_order(number: signal.Signals) -> None:
    digest = settings_digest(load_settings("chorus.yaml"))
    with announced("alone", digest), waiting() as process:
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
        assert process.returncode == exit_codes.OK
        assert "Traceback" not in said


def test_an_announced_application_that_is_gone_is_unreachable() -> None:
    [port] = free_ports(1)
    digest = settings_digest(load_settings("chorus.yaml"))
    with announced("alone", digest, f"127.0.0.1:{port}"):
        done = stream()
    assert done.returncode == exit_codes.UNREACHABLE, done.stderr
    assert f"no Ray cluster answers at 127.0.0.1:{port}" in done.stderr
