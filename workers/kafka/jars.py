"""The broker's jars: pinned by coordinate and SHA-256, fetched once into a cache."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from serve_app.digest import sha256_of

if TYPE_CHECKING:
    from rich.console import Console

LOCK_FILE = Path(__file__).with_name("jars.lock.json")


class JarError(RuntimeError):
    """A jar could not be fetched, or is not the pinned one."""


class Jar(msgspec.Struct, frozen=True):
    """One pinned jar: `group:artifact:version`, the SHA-256 of the file and its size in bytes."""

    coordinate: str
    sha256: str
    size: int

    @property
    def filename(self) -> str:
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


class JarLock(msgspec.Struct, frozen=True):
    """The committed list: the version of Kafka and all jars its broker needs."""

    kafka: str
    jars: list[Jar]


def read_lock() -> JarLock:
    """The committed list of jars (written by `workers.kafka.relock`)."""
    return msgspec.json.decode(LOCK_FILE.read_bytes(), type=JarLock)


def cache_folder(lock: JarLock) -> Path:
    """Where the jars of `lock` are kept: below XDG_CACHE_HOME, by default ~/.cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "chorus-asr" / f"kafka-{lock.kafka}"


def fetch_jars(folder: Path | None = None, console: Console | None = None) -> list[Path]:
    """The pinned jars as files, fetched where `folder` does not hold them yet.

    Every file is checked against its SHA-256 on each call (some 0.1 s for all); one that differs
    is fetched anew. Blocks while another process fetches into the same folder, and then uses what
    that one fetched. An interrupted fetch goes on with the jars that are still missing.

    Args:
        folder: the cache, by default `cache_folder`.
        console: where the progress bar goes, by default standard error.

    Raises:
        JarError: a jar cannot be had, or what was fetched is not the pinned one.
    """
    lock = read_lock()
    folder = folder or cache_folder(lock)
    if _missing(lock, folder):
        folder.mkdir(parents=True, exist_ok=True)
        with _exclusively(folder / ".lock"):
            # another process may have fetched them while this one waited for the lock
            if missing := _missing(lock, folder):
                # not at the top: the client of Maven takes half a second to import
                from workers.kafka.download import download

                download(missing, folder, f"Apache Kafka {lock.kafka}", console)
                for archive in folder.glob("*.jsa"):  # made of other files
                    archive.unlink()
    return [folder / jar.filename for jar in lock.jars]


def is_pinned(path: Path, jar: Jar) -> bool:
    """Whether the file at `path` is `jar`, by its size and SHA-256."""
    return path.is_file() and path.stat().st_size == jar.size and sha256_of(path) == jar.sha256


def _missing(lock: JarLock, folder: Path) -> list[Jar]:
    return [jar for jar in lock.jars if not is_pinned(folder / jar.filename, jar)]


@contextlib.contextmanager
def _exclusively(path: Path) -> Iterator[None]:
    """Hold the file lock at `path`; the system releases it when the process dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
