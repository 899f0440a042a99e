from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve_app.cluster.sessions import remove_ended


@pytest.fixture
def folder() -> Iterator[Path]:
    """A new folder; paths of sockets are short."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture
def ended() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def session(folder: Path, second: int, pid: int) -> Path:
    path = folder / f"session_2026-11-29_15-34-{second:02}_413774_{pid}"
    (path / "logs").mkdir(parents=True)
    (path / "logs" / "raylet.out").touch()
    (path / "sockets").mkdir()
    return path


def test_the_sessions_of_ended_clusters_go_but_the_newest(folder: Path, ended: int) -> None:
    old, *kept = [session(folder, second, ended) for second in range(1, 4)]
    (folder / "session_latest").symlink_to(kept[-1])
    other = folder / "session_of_mine"
    other.mkdir()
    remove_ended(folder, keep=2)
    assert not old.exists()
    assert all((path / "logs" / "raylet.out").exists() for path in kept)
    assert other.exists()
    remove_ended(folder / "not there")


def test_a_cluster_that_runs_keeps_its_session(folder: Path, ended: int) -> None:
    mine = session(folder, 1, os.getpid())
    elsewhere, crashed = session(folder, 2, ended), session(folder, 3, ended)
    with socket.socket(socket.AF_UNIX) as living, socket.socket(socket.AF_UNIX) as dead:
        for path, listener in ((elsewhere, living), (crashed, dead)):
            listener.bind(str(path / "sockets" / "raylet"))
        living.listen()
        remove_ended(folder, keep=0)
    assert mine.exists()
    assert elsewhere.exists()
    assert not crashed.exists()
    os.utime(mine, (1.0, 1.0))  # as if a process with this number had made it long ago
    remove_ended(folder, keep=0)
    assert not mine.exists()


def test_links_and_what_is_another_users_stays(
    folder: Path, ended: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = session(folder / "elsewhere", 1, ended)
    link = folder / target.name
    link.symlink_to(target)
    theirs = session(folder, 2, ended)
    remove_ended(folder, keep=1)
    assert link.exists()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    remove_ended(folder, keep=0)
    assert theirs.exists()
