"""The memory of this machine, and how a process gives it back."""

from __future__ import annotations

import contextlib
import ctypes
import resource
from pathlib import Path

import psutil

_M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
#: Larger blocks, in bytes, are mapped one by one: 16 s of audio.
LARGE_BLOCK = 1 << 20


def return_large_blocks() -> None:
    """Let large blocks, such as clips, go back to the system when they are freed.

    By default glibc stops mapping them after the first is freed, and puts them in its heap, where a
    small block behind them keeps their memory for good: an API process stayed 290 MB larger after
    fifty uploads of a minute at once, and stays 90 MB larger so. Does nothing where there is no
    glibc. Not for processes that run models: mapping costs a page fault for every 4 KB of a tensor.
    """
    try:
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK)
    except (OSError, AttributeError):  # another C library
        return


def available_bytes() -> int:
    """Memory that is free for this process: of the machine, or of its container if that has less.

    What the kernel keeps of files counts as free.
    """
    free = int(psutil.virtual_memory().available)
    with contextlib.suppress(OSError, ValueError):  # no limit, no cgroups, or their first version
        group = Path("/sys/fs/cgroup")
        statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        limit = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text()) - int(statistics["inactive_file"])
        free = min(free, limit - used)
    return max(free, 0)


def peak_bytes() -> int:
    """Most memory that this process has had at once since its program began.

    Where the system does not tell (it is not Linux), that of the process it was forked from counts.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
