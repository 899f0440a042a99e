"""Child processes that are killed when this process ends, for whatever reason."""

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
    """A thread that starts all children of the process with this id, and lives as long as it.

    The kernel kills such a child when the *thread* that started it ends (prctl(2)).
    """
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="child-starter")


# Runs in a new interpreter before it becomes the command, since no Python code may run between fork
# and exec in a process with threads. The parent may have died before prctl took effect.
_SHIM = """
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
    """Start a child process.

    It runs in its own session, so that Ctrl-C in the terminal reaches only the caller, who decides
    in which order processes stop. On Linux it is killed as soon as the caller has ended, even if
    the caller was killed.

    Args:
        command: absolute path of the program, and its arguments.
        log: file that the output is appended to.
        keep_open: file descriptors that the child inherits.
    """
    shim = [sys.executable, "-I", "-S", "-c", _SHIM, str(os.getpid())]

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
