"""The broker's jars, downloaded once into a cache."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from workers.broker.pins import Jar, JarLock, is_pinned, read_lock

if TYPE_CHECKING:
    from rich.console import Console

#: Of the archives of classes that are made from the jars, and kept beside them.
ARCHIVE_SUFFIX = ".jsa"


def cache_folder(lock: JarLock) -> Path:
    """Folder in which the jars of `lock` are kept: below XDG_CACHE_HOME, by default ~/.cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "chorus-asr" / f"kafka-{lock.kafka}"


def fetch_jars(folder: Path | None = None, console: Console | None = None) -> list[Path]:
    """Return the paths of the pinned jars, after downloading those that are missing.

    Every file is verified by its SHA-256 on each call (some 0.1 s for all); one that differs is
    downloaded again. Blocks while another process downloads into the same folder, and then uses its
    files. An interrupted download resumes with the jars that are still missing.

    Args:
        folder: the cache, by default `cache_folder`.
        console: where the progress bar is shown, by default on standard error.

    Raises:
        JarError: a jar cannot be fetched, or does not have the pinned digest.
    """
    lock = read_lock()
    folder = folder or cache_folder(lock)
    if _missing(lock, folder):
        folder.mkdir(parents=True, exist_ok=True)
        with _exclusively(folder / ".lock"):
            # another process may have fetched them while this one waited for the lock
            if missing := _missing(lock, folder):
                # imported late: the Maven client takes half a second to import
                from workers.broker.download import download

                download(missing, folder, f"Apache Kafka {lock.kafka}", console)
                for archive in folder.glob(f"*{ARCHIVE_SUFFIX}"):  # made from other jars
                    archive.unlink()
    return [folder / jar.filename for jar in lock.jars]


def _missing(lock: JarLock, folder: Path) -> list[Jar]:
    return [jar for jar in lock.jars if not is_pinned(folder / jar.filename, jar)]


@contextlib.contextmanager
def _exclusively(path: Path) -> Iterator[None]:
    """Hold the file lock at `path`; the system releases it when the process dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
