"""Intermediate results on disk: JSON lines, appended to by whole lines only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from serve_app.system.files import named, write_all

T = TypeVar("T", bound=msgspec.Struct)


class Journal(Generic[T]):
    """The rows of a file, which can be appended to. An incomplete last line is removed.

    Args:
        path: path of the file; None keeps the rows in memory only.
        row: type of the rows.

    Attributes:
        rows: all rows so far.

    Raises:
        ValueError: a line of the file is not such a row.
        OSError: the file cannot be read or written.
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
            raise ValueError(
                f"{path}: not a file of intermediate results: {error}; use another folder, or "
                "delete the file"
            ) from None

    def append(self, rows: Sequence[T]) -> None:
        """Append `rows`; they are in the file when this returns."""
        self.rows += rows
        if self._path is not None:
            data = b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
            with named(self._path), self._path.open("ab") as file:
                write_all(file.fileno(), data)
