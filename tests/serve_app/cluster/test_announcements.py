"""Announced applications: the right one is found, or it is said why not."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import pytest

from serve_app.cluster.announcements import (
    OtherSettingsError,
    StartingError,
    announced,
    announcements,
    check_answers,
    find,
)
from tests.waiting import until


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:  # Ray's sockets are below it
        monkeypatch.setenv("RAY_TMPDIR", short)
        yield


def test_an_application_is_found_by_its_name_and_settings() -> None:
    with announced("a", "digest", "host:1"), announced("b", "digest", "host:2"):
        assert find("a", "digest") == "host:1"
        assert find("b", "digest") == "host:2"
    with pytest.raises(ConnectionError, match="no `chorus serve` with the application `a`"):
        find("a", "digest")


def test_one_with_other_settings_is_refused() -> None:
    with (
        announced("a", "digest", "host:1"),
        pytest.raises(OtherSettingsError, match=f"host:1 .*process {os.getpid()}.* other models"),
    ):
        find("a", "another digest")


def test_one_that_starts_is_told_from_one_that_does_not_run() -> None:
    with announced("a", "digest") as announcer:
        with pytest.raises(StartingError, match=f"process {os.getpid()}.* is starting") as starting:
            find("a", "digest")
        assert starting.value.cluster == ""
        announcer.starts_at("host:1")
        with pytest.raises(StartingError) as starting:
            find("a", "digest")
        assert starting.value.cluster == "host:1"
    with (
        announced("a", "digest"),
        pytest.raises(OtherSettingsError, match=f"`a` .*process {os.getpid()}.* other models"),
    ):
        find("a", "another digest")


def test_the_announcement_of_a_start_becomes_that_of_what_runs() -> None:
    with announced("a", "digest") as announcer:
        announcer.runs_at("host:1")
        assert find("a", "digest") == "host:1"
        assert len(announcements("a")) == 1
        announcer.withdraw()
        assert announcements("a") == []


def test_one_that_runs_is_found_beside_one_that_starts() -> None:
    with announced("a", "digest", "host:1"), announced("a", "digest"):
        assert find("a", "digest") == "host:1"


def test_one_that_starts_goes_before_one_with_other_settings() -> None:
    with (
        announced("a", "digest", "host:1"),
        announced("a", "another digest"),
        pytest.raises(StartingError),
    ):
        find("a", "another digest")


def test_of_two_the_later_is_found_until_it_ends() -> None:
    with announced("a", "digest", "host:1"):
        with announced("a", "digest", "host:2"):
            assert [each.address for each in announcements("a")] == ["host:2", "host:1"]
        assert find("a", "digest") == "host:1"


def test_a_killed_process_is_not_found() -> None:
    code = (
        "import time\n"
        "from serve_app.cluster.announcements import announced\n"
        "with announced('a', 'digest', 'host:1'):\n"
        "    print(flush=True)\n"
        "    time.sleep(1000)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            process.stdout.readline()
            assert find("a", "digest") == "host:1"
        finally:
            process.kill()
        # also while nobody has waited for it
        asyncio.run(until(lambda: announcements("a") == []))


def test_an_address_of_nobody_is_told_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(ConnectionError, match=f"no Ray cluster answers at 127.0.0.1:{port}"):
            check_answers(f"127.0.0.1:{port}")
        taken.listen()
        check_answers(f"127.0.0.1:{port}")
    check_answers("auto")
