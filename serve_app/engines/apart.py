"""Run a module of this package in a process of its own, which may crash without harm.

The process takes at most the memory that is free, and ends within a time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import NamedTuple

import psutil

from serve_app.system.memory import available_bytes
from serve_app.system.processes import kill_tree
from serve_app.system.sizes import size_text

#: Seconds that it may take; loading a large model from a slow disk takes minutes.
TIMEOUT_S = 900.0
#: Share of the free memory that it may take.
_SHARE = 0.9
_POLL_S = 0.2


class Ended(NamedTuple):
    """How the process ended.

    Attributes:
        code: its exit code; negative: the signal that ended it.
        output: what it wrote, all of it or until it ended.
        limit: which limit it was ended for, in words; empty if for none.
    """

    code: int
    output: bytes
    limit: str


def run_apart(module: str, job: bytes, *, gpu: bool, timeout_s: float) -> Ended:
    """Run ``python -m module`` in a process of its own. Blocks until it ends.

    All that it has started ends with it.

    Args:
        module: that reads `job` from standard input, and writes to `own_output`.
        job: what it is to do.
        gpu: whether the process sees the GPU, if there is one.
        timeout_s: longest time.
    """
    limit = int(_SHARE * available_bytes())
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
    }
    if not gpu:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    process = subprocess.Popen(
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    watch = _Watch(process, limit, timeout_s)
    try:
        output, _ = process.communicate(job)
    finally:
        watch.end()
        kill_tree(process.pid)
    return Ended(process.returncode, output, watch.reason)


def own_output() -> int:
    """A descriptor for what the process has to say; what libraries print goes elsewhere."""
    output = os.dup(1)
    os.dup2(2, 1)
    return output


class _Watch:
    """Ends a process that takes too much memory or time.

    Attributes:
        reason: why it was ended; empty if it was not.
    """

    def __init__(self, process: subprocess.Popen[bytes], limit: int, timeout_s: float) -> None:
        self._process = process
        self._limit = limit
        self._timeout_s = timeout_s
        self._ended = threading.Event()
        self.reason = ""
        threading.Thread(target=self._run, name="trial", daemon=True).start()

    def end(self) -> None:
        """Stop watching."""
        self._ended.set()

    def _run(self) -> None:
        waited = 0.0
        while not self._ended.wait(_POLL_S):
            waited += _POLL_S
            if waited > self._timeout_s:
                self.reason = f"did not end within {self._timeout_s:g} s"
            elif _resident(self._process.pid) > self._limit:
                self.reason = f"took more memory than the {size_text(self._limit)} that are free"
            if self.reason:
                kill_tree(self._process.pid)
                return


def _resident(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
