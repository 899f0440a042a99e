"""A store that is a folder on this machine, or on a file system that it mounts."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from serve_app.system.files import atomic_path, atomic_write


class LocalStore:
    """Files below a folder, which is created when the first one is written; see `Store`.

    The file system must have hard links: exclusive creation is one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self.url = str(self._folder)

    def create(self, key: str, content: bytes, *, new_folder: bool = True) -> None:
        """See `Store.create`."""
        path = self._writable(key) if new_folder else self._folder / key
        atomic_write(path, content, overwrite=False)

    def read(self, key: str) -> bytes:
        """See `Store.read`."""
        return (self._folder / key).read_bytes()

    def keys(self, folder: str) -> list[str]:
        """See `Store.keys`."""
        return sorted(
            Path(parent, name).relative_to(self._folder).as_posix()
            for parent, _, names in os.walk(self._folder / folder, onerror=_raise)
            for name in names
            if not name.startswith(".")
        )

    def add(self, key: str, path: Path, *, move: bool = False) -> None:
        """See `Store.add`."""
        with atomic_path(self._writable(key)) as temporary:
            if move:
                shutil.move(path, temporary)
            else:
                shutil.copyfile(path, temporary)

    def fetch(self, key: str, path: Path) -> None:
        """See `Store.fetch`."""
        shutil.copyfile(self._folder / key, path)

    def remove(self, key: str) -> None:
        """See `Store.remove`. Folders stay: another writer may be about to use them."""
        (self._folder / key).unlink(missing_ok=True)

    def path(self, key: str) -> Path | None:
        """See `Store.path`."""
        return self._folder / key

    def _writable(self, key: str) -> Path:
        path = self._folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def _raise(error: OSError) -> None:
    """Report folders that cannot be read, but not those that are gone."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error
