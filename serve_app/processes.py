"""Processes that this one has started."""

from __future__ import annotations

import contextlib

import psutil


def kill_tree(pid: int) -> None:
    """SIGKILL a process and all below it; those that have ended already are passed over."""
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
