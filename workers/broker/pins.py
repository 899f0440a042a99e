"""The jars that the broker needs, pinned by coordinate, size and SHA-256."""

from __future__ import annotations

from pathlib import Path

import msgspec

from serve_app.system.files import sha256_of

LOCK_FILE = Path(__file__).with_name("jars.lock.json")


class JarError(RuntimeError):
    """A jar cannot be fetched, or does not have the pinned digest."""


class Jar(msgspec.Struct, frozen=True):
    """One pinned jar.

    Attributes:
        coordinate: Maven coordinate, `group:artifact:version`.
        sha256: digest of the file.
        size: size of the file in bytes.
    """

    coordinate: str
    sha256: str
    size: int

    @property
    def filename(self) -> str:
        """Name of the file, as in a Maven repository."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


class JarLock(msgspec.Struct, frozen=True):
    """The committed lock file: the version of Kafka and all jars that its broker needs."""

    kafka: str
    jars: list[Jar]


def read_lock() -> JarLock:
    """Read the committed lock file, which `workers.broker.relock` writes."""
    return msgspec.json.decode(LOCK_FILE.read_bytes(), type=JarLock)


def is_pinned(path: Path, jar: Jar) -> bool:
    """Whether the file at `path` has the size and the SHA-256 of `jar`."""
    return path.is_file() and path.stat().st_size == jar.size and sha256_of(path) == jar.sha256
