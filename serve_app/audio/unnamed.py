"""Files without a name, which are gone when they are closed."""

from __future__ import annotations

import os
import tempfile

#: Larger files are on disk, not in memory.
_MAX_IN_MEMORY = 64 << 20


def unnamed(size: int) -> int:
    """The descriptor of a new file for about `size` bytes: in memory, or on disk if it is large."""
    return os.memfd_create("audio", os.MFD_CLOEXEC) if size <= _MAX_IN_MEMORY else on_disk()


def on_disk() -> int:
    """The descriptor of a new file in the system's folder for temporary files."""
    with tempfile.TemporaryFile(prefix="chorus-audio-") as file:
        return os.dup(file.fileno())
