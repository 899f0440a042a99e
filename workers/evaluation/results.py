"""Saving results as JSON, and loading them again."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import msgspec


def write_json(value: msgspec.Struct, path: Path) -> None:
    """Write `value`, indented, at once or not at all.

    Raises:
        OSError: it cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.partial")
    unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
    unfinished.replace(path)


class Result(msgspec.Struct, kw_only=True, omit_defaults=False):
    """Something measured."""

    def save(self, path: str | Path) -> None:
        """Write it as JSON, at once or not at all.

        Raises:
            OSError: it cannot be written.
        """
        write_json(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """What `save` wrote.

        Raises:
            OSError: the file cannot be read.
            ValueError: it holds something else; the message names the key.
        """
        try:
            return msgspec.json.decode(Path(path).read_bytes(), type=cls)
        except msgspec.DecodeError as error:
            raise ValueError(f"{path}: is no {cls.__name__}: {error}") from None
