"""Finished work on disk: JSON lines that only ever grow by whole lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


class Journal(Generic[T]):
    """The rows of a file, and those to come. A line that a kill has cut off is removed.

    Args:
        path: of the file; None keeps the rows in memory only.
        row: their type. A file with other rows is refused.

    Raises:
        ValueError: the file has a line that is no such row.
        OSError: it cannot be read or written.
    """

    def __init__(self, path: Path | None, row: type[T]) -> None:
        self.rows: list[T] = []
        self._path = path
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            file.seek(0)
            data = file.read()
            whole = data.rfind(b"\n") + 1
            file.truncate(whole)
        try:
            self.rows = [msgspec.json.decode(line, type=row) for line in data[:whole].splitlines()]
        except msgspec.DecodeError as error:
            raise ValueError(f"{path}: is not a file of this work: {error}") from None

    def append(self, rows: Sequence[T]) -> None:
        """Add `rows`; they are in the file when this returns."""
        self.rows += rows
        if self._path is not None:
            with self._path.open("ab") as file:
                file.write(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
