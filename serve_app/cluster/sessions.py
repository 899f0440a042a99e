"""The folders that Ray makes, one for each cluster, and never removes: sockets, logs and the like.

Ray names them after the time of the start and the process that started the cluster.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
from pathlib import Path

import psutil

#: How many are kept for their logs, whether their clusters run or not.
KEPT = 5

_NAME = re.compile(r"session_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_\d{6}_(\d+)")
_SOCKETS = ("sockets/raylet", "sockets/plasma_store")
_CONNECT_S = 1.0


def remove_ended(folder: Path, keep: int = KEPT) -> None:
    """Remove the sessions of this user whose clusters have ended, but not the newest ones.

    Whatever cannot be removed stays.

    Args:
        folder: with the sessions; it may not exist yet.
        keep: how many of the newest ones stay in any case.
    """
    sessions = sorted(path for path in folder.glob("session_*") if _NAME.fullmatch(path.name))
    for session in sessions[: max(0, len(sessions) - keep)]:
        if _is_own(session) and not _runs(session):
            shutil.rmtree(session, ignore_errors=True)


def _is_own(session: Path) -> bool:
    try:
        return not session.is_symlink() and session.lstat().st_uid == os.geteuid()
    except OSError:
        return False


def _runs(session: Path) -> bool:
    """Whether its cluster may run: its process is there, or somebody listens at its sockets.

    The sockets also tell of a cluster in another container that has this folder, too.
    """
    return _is_made_by_living(session) or any(_listens(session / name) for name in _SOCKETS)


def _is_made_by_living(session: Path) -> bool:
    found = _NAME.fullmatch(session.name)
    if found is None:
        return False
    try:  # a process that began later has the number of one that has ended
        return psutil.Process(int(found[1])).create_time() <= session.stat().st_mtime
    except (psutil.Error, OSError):
        return False


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_CONNECT_S)
        try:
            client.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:
            return True  # nobody knows
    return True
