"""Unpack and hash an untrusted `.nemo` file in one pass.

In one pass, so that the digest is that of the unpacked data: the file cannot be replaced in
between, and no second reader can interpret the archive differently.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from serve_app.engines.errors import EngineError, shown

#: Largest archive, compressed and unpacked. The largest public speech models have about 5 GB.
MAX_BYTES = 16 << 30
#: A compressed archive may unpack to this multiple of its size, or to this many bytes: weights
#: hardly compress, while zeros compress by a factor of a thousand.
MAX_RATIO, SMALL_BYTES = 10, 64 << 20
#: Most members of an archive. A model has about five, and three more for each language.
MAX_MEMBERS = 300
#: Largest extended header, and most of them per member. Those of NeMo hold a time and a name.
#: `tarfile` takes quadratic time for some (CVE-2024-6232).
_MAX_EXTENSION, _MAX_EXTENSIONS = 1 << 10, 4

_GZIP = b"\x1f\x8b"
_COPY_BYTES = 1 << 20
_EXTENSIONS = frozenset(
    {tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
)
#: What the libraries raise over a damaged archive.
_UNREADABLE = (EOFError, ValueError, zlib.error, tarfile.TarError, RecursionError)
#: Errors of `tarfile` that its type stubs lack.
_DAMAGED: Any = (vars(tarfile)["InvalidHeaderError"], vars(tarfile)["TruncatedHeaderError"])


def unpack(path: Path, folder: Path) -> tuple[str, dict[str, Path]]:
    """Write the members of an archive to files.

    The files have generated names: the name of a member is never used as a path.

    Args:
        path: the archive, a tar file that may be compressed with gzip.
        folder: empty, and accessible to this user only.

    Returns:
        The SHA-256 of the whole archive, lower-case hexadecimal; and the file of each member, by
        the name of the member ("model_config.yaml", "sub/vocab.txt").

    Raises:
        EngineError: the archive is refused: links, devices, sparse files, absolute or parent
            paths, duplicate names, damaged headers, data after its end, more than `MAX_MEMBERS`
            members, more than `MAX_BYTES`, or more than `MAX_RATIO` times its size.
        OSError: the archive cannot be read, or `folder` cannot be written.
    """
    with open(path, "rb", opener=_without_waiting) as file:
        size = _checked_size(file)
        digest = hashlib.sha256()
        whole = _SequentialReader(file, digest.update)
        try:
            if file.peek(len(_GZIP)).startswith(_GZIP):
                limit = min(MAX_BYTES, max(SMALL_BYTES, MAX_RATIO * size))
                with gzip.GzipFile(fileobj=whole, mode="rb") as unzipped:
                    members = _unpack(_SequentialReader(unzipped), folder, limit)
            else:
                members = _unpack(whole, folder, MAX_BYTES)
        except _UNREADABLE as error:
            raise EngineError(f"cannot be read as a .nemo archive: {error}") from error
        whole.read_rest()
    return digest.hexdigest(), members


def glance(path: Path, name: str, max_bytes: int) -> tuple[bytes, set[str] | None]:
    """What an archive holds, without unpacking it: milliseconds for one that is not compressed.

    Of a compressed archive nothing is read behind the member `name`.

    Args:
        path: as `unpack` takes it.
        name: of a member.
        max_bytes: most bytes of that member.

    Returns:
        The content of that member; and the names of all, None where not all were seen.

    Raises:
        EngineError: the archive is cut short, has no such member, or is refused by `unpack` for its
            headers.
        OSError: it cannot be read.
    """
    with open(path, "rb", opener=_without_waiting) as file:
        _checked_size(file)
        compressed = file.peek(len(_GZIP)).startswith(_GZIP)
        opened: Any = gzip.GzipFile(fileobj=file, mode="rb") if compressed else file
        names: set[str] = set()
        content: bytes | None = None
        try:
            with tarfile.open(fileobj=opened, mode="r:", tarinfo=_Member) as archive:
                for found, member in _members(archive):
                    names.add(found)
                    source = archive.extractfile(member) if found == name else None
                    if source is not None:
                        content = source.read(max_bytes + 1)
                        if compressed:
                            break
        except _UNREADABLE as error:
            raise EngineError(f"cannot be read as a .nemo archive: {error}") from error
    if content is None:
        raise EngineError(f"has no {name}; it is not a NeMo model")
    if len(content) > max_bytes:
        raise EngineError(f"{name} is larger than {max_bytes >> 20} MiB")
    return content, None if compressed else names


def _checked_size(file: io.BufferedReader) -> int:
    facts = os.fstat(file.fileno())
    if not stat.S_ISREG(facts.st_mode):
        raise EngineError("is not a regular file")
    if facts.st_size > MAX_BYTES:
        raise EngineError(f"is larger than {MAX_BYTES >> 30} GiB")
    return facts.st_size


def _without_waiting(path: str, flags: int) -> int:
    # else opening a named pipe would wait for its writer
    return os.open(path, flags | os.O_NONBLOCK)


def _unpack(reader: _SequentialReader, folder: Path, limit: int) -> dict[str, Path]:
    members: dict[str, Path] = {}
    unpacked = 0
    with tarfile.open(fileobj=reader, mode="r:", tarinfo=_Member) as archive:
        for name, member in _members(archive):
            unpacked += member.size
            if unpacked > limit:
                raise EngineError(f"unpacks to more than {limit >> 20} MiB")
            members[name] = target = folder / f"member-{len(members)}"
            source = archive.extractfile(member)
            if source is None:
                raise EngineError(f"member {shown(member.name)} has no content")
            with open(target, "xb") as file:
                shutil.copyfileobj(source, file, _COPY_BYTES)
    for data in iter(lambda: reader.read(_COPY_BYTES), b""):
        unpacked += len(data)
        if data.strip(b"\0") or unpacked > limit:
            raise EngineError("has data after the end of the archive")
    return members


def _members(archive: tarfile.TarFile) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """The files in an archive, each with its name; stops at the first fault of a header."""
    names: set[str] = set()
    for number, member in enumerate(archive):
        if number >= MAX_MEMBERS:
            raise EngineError(f"has more than {MAX_MEMBERS} members")
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts:
            raise EngineError(f"member {shown(member.name)} points outside the archive")
        if member.isdir():
            continue
        if not member.isreg() or member.size < 0:
            raise EngineError(f"member {shown(member.name)} is not a regular file")
        if str(name) in names:
            raise EngineError(f"has two members named {shown(str(name))}")
        names.add(str(name))
        yield str(name), member


class _SequentialReader(io.RawIOBase):
    """Reads a file once from its start to its end; all data is passed to `on_data`."""

    def __init__(
        self, file: io.BufferedIOBase, on_data: Callable[[bytes], Any] = lambda data: None
    ) -> None:
        self._file = file
        self._on_data = on_data
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._on_data(data)
        self._position += len(data)
        return data

    def tell(self) -> int:
        return self._position

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        if whence != os.SEEK_SET or position < self._position:
            raise tarfile.ReadError("a header points backwards")
        while self._position < position:
            if not self.read(min(position - self._position, _COPY_BYTES)):
                raise tarfile.ReadError("unexpected end of data")
        return self._position

    def read_rest(self) -> None:
        """Read to the end of the file."""
        while self.read(_COPY_BYTES):
            pass


class _Member(tarfile.TarInfo):
    """A header that is checked before `tarfile` acts on it."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> _Member:
        try:
            member: _Member = super().fromtarfile(archive)
        except _DAMAGED as error:
            # `tarfile` would take it for the end of the archive
            raise EngineError(f"cannot be read as a .nemo archive: {error}") from None
        return member

    def _proc_member(self, archive: tarfile.TarFile) -> _Member:
        if self.type == tarfile.GNUTYPE_SPARSE:
            self._refuse_sparse()
        if self.type == tarfile.XGLTYPE:
            raise EngineError("has a global header, which is not allowed")
        if self.type in _EXTENSIONS:
            self._count_extension(archive)
        member: _Member = super()._proc_member(archive)  # type: ignore[misc]
        return member

    def _count_extension(self, archive: Any) -> None:
        archive.extensions = getattr(archive, "extensions", 0) + 1
        if archive.extensions > _MAX_EXTENSIONS * (len(archive.members) + 1):
            raise EngineError("has too many extended headers")
        if not 0 <= self.size <= _MAX_EXTENSION:
            raise EngineError("has an extended header that is too large")

    def _refuse_sparse(self, *_: Any) -> NoReturn:
        raise EngineError("has a sparse member, which is not allowed")

    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse_sparse
