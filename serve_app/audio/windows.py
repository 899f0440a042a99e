"""Searching a file without having it in memory: a decoder process has little of that."""

from __future__ import annotations

import os
from collections.abc import Iterator

_SIZE = 4 << 20
#: Bytes that a window shares with the next one; what is searched for is shorter.
_OVERLAP = 64 << 10


def windows(fd: int, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Consecutive parts of the file open at `fd`, each with its first byte's position.

    Args:
        fd: descriptor of a regular file; its position stays where it is.
        start: the first byte.
    """
    # a buffer of the whole window costs more than reading most files
    size = os.fstat(fd).st_size
    while data := os.pread(fd, max(0, min(_SIZE, size - start)), start):
        yield start, data
        if len(data) < _SIZE:
            return
        start += _SIZE - _OVERLAP
