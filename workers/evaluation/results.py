"""Save results as JSON, and load them again."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import msgspec

from serve_app.system.files import atomic_write


def write_json(value: msgspec.Struct, path: Path) -> None:
    """Write `value` to `path` as indented JSON, atomically.

    Raises:
        OSError: the file cannot be written.
    """
    atomic_write(path, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


class Result(msgspec.Struct, kw_only=True, omit_defaults=False):
    """Base of the results that can be saved as JSON and loaded again."""

    def save(self, path: str | Path) -> None:
        """Write the result to `path` as JSON, atomically.

        Raises:
            OSError: the file cannot be written.
        """
        write_json(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a result that `save` wrote.

        Raises:
            OSError: the file cannot be read.
            ValueError: the file contains something else; the message names the key.
        """
        try:
            return msgspec.json.decode(Path(path).read_bytes(), type=cls)
        except msgspec.DecodeError as error:
            raise ValueError(f"{path}: not a saved {cls.__name__}: {error}") from None
