"""Stop processes, and keep others from being stopped too early."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import sys

import psutil

#: An option of Linux' prctl.
_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parents end, so that they can be found and ended.

    Without effect on other systems than Linux.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def block_sigterm() -> None:
    """Keep SIGTERM from this process and from all that it starts.

    For processes whose owner ends them: supervisors send the signal to every process of a service,
    and those that the work of others depends on are not to be the first that go.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def kill_tree(pid: int) -> None:
    """Send SIGKILL to a process and all its descendants; those that have ended are ignored."""
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
