"""Where a registry's files are: a folder, or an object store.

Nothing in a store is ever overwritten: a file is created only if there is none. So readers need no
lock, and of two writers that meet one finds out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Store(Protocol):
    """Files by key; a key is a path with ``/`` between its parts, without one at its ends.

    Attributes:
        url: where it is, for people; without secrets.
    """

    url: str

    def create(self, key: str, content: bytes, *, new_folder: bool = True) -> None:
        """Write a small file completely, if there is none.

        Args:
            key: where.
            content: of the file.
            new_folder: whether its folder is made if there is none. Who adds to what was read
                before says no: a store that went away meanwhile (a disk that was unmounted) must
                not come into being again beside it. An object store has no folders.

        Raises:
            FileExistsError: there is one, possibly another writer's of this moment.
            OSError: it cannot be written.
        """
        ...

    def read(self, key: str) -> bytes:
        """The content of a small file.

        Raises:
            FileNotFoundError: there is none.
            OSError: it cannot be read.
        """
        ...

    def keys(self, folder: str) -> list[str]:
        """The keys of all files at any depth below `folder`, in order; of all files if it is empty.

        Raises:
            OSError: they cannot be listed.
        """
        ...

    def add(self, key: str, path: Path, *, move: bool = False) -> None:
        """Store a file of any size. Others must not see it as complete before this returns.

        Args:
            key: where; the caller alone writes there.
            path: the file.
            move: whether the file may be moved instead of copied.

        Raises:
            OSError: it cannot be stored.
        """
        ...

    def fetch(self, key: str, path: Path) -> None:
        """Copy a file of any size to `path`.

        Raises:
            FileNotFoundError: there is none.
            OSError: it cannot be read.
        """
        ...

    def remove(self, key: str) -> None:
        """Remove a file, if there is one.

        Raises:
            OSError: it cannot be removed.
        """
        ...

    def path(self, key: str) -> Path | None:
        """Where a file or folder is on this machine; None for a store that is elsewhere."""
        ...


def open_store(url: str | Path) -> Store:
    """The store at a path or a URL (``file://``, ``s3://``, ``gs://``, ``az://``).

    Raises:
        ValueError: the URL is of no such kind.
        ImportError: it is an object store, and the extra `objectstore` is not installed.
    """
    text = str(url)
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "file", text
    if scheme == "file":
        from serve_app.registry.local_store import LocalStore

        return LocalStore(Path(rest))
    from serve_app.registry.object_store import ObjectStore

    return ObjectStore(text)


def numbers_in(store: Store, folder: str, file: str | None = None) -> list[int]:
    """The numbers below a folder, in order: of its files, or of its folders that have `file`."""
    depth = folder.count("/") + 1
    found = set()
    for key in store.keys(folder):
        parts = key.split("/")[depth:]
        if (file is None and len(parts) == 1) or parts[1:] == [file]:
            stem = parts[0].removesuffix(".json")
            if stem.isdecimal():
                found.add(int(stem))
    return sorted(found)


def exists(store: Store, key: str) -> bool:
    """Whether there is a small file."""
    try:
        store.read(key)
    except FileNotFoundError:
        return False
    return True
