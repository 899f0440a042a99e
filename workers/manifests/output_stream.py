"""The output of a job that goes to a pipe or to standard output, and cannot be resumed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from serve_app.system.files import named, write_all
from workers.manifests.source import is_standard_output


class OutputStream(AbstractContextManager["OutputStream"]):
    """What `OutputFile` is for a file, where nothing can be there already.

    Args:
        path: of a pipe or a device; ``-`` is standard output.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.failed = bytearray()
        self.dropped = self.word_errors = self.reference_words = 0
        self._name = path
        self._descriptor = os.dup(1) if is_standard_output(path) else os.open(path, os.O_WRONLY)

    def append(self, lines: Sequence[bytes]) -> None:
        """Write the next lines."""
        with named(self._name):
            write_all(self._descriptor, b"".join(line + b"\n" for line in lines))

    def replace(self, lines: Sequence[bytes]) -> None:
        """Nothing is there that could be replaced."""
        raise NotImplementedError

    def finish(self) -> None:
        """Nothing is left to be done."""

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
