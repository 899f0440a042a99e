"""Child processes that die with this process, however it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path


@cache
def _starter(process: int) -> ThreadPoolExecutor:
    """One thread that lives as long as the process of this id and starts all its children.

    The kernel kills such a child when the *thread* that started it ends (prctl(2)).
    """
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="child-starter")


# Runs in the child, before it becomes the command: no Python code between fork and exec of a
# process that has threads. The parent may have died before prctl took hold.
_BECOME = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1 is PR_SET_PDEATHSIG
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent process has ended")
os.execv(sys.argv[2], sys.argv[2:])
"""


def spawn(
    command: Sequence[str | Path], log: Path, keep_open: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Start `command` (an absolute path first) with its output appended to `log`.

    It is a session of its own, so Ctrl-C in the terminal reaches the caller alone and the order
    in which things stop is the caller's. On Linux it is killed as soon as the caller has ended,
    by SIGKILL too.

    Args:
        keep_open: file descriptors that the child inherits.
    """
    shim = [sys.executable, "-I", "-S", "-c", _BECOME, str(os.getpid())]

    def start() -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                [*shim, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=tuple(keep_open),
            )

    return _starter(os.getpid()).submit(start).result()
