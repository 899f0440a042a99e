"""Audio inside tar archives, as NeMo's tarred data sets have it: ``audio_3.tar/utterance.wav``.

The headers of an archive are read once, when the first of its files is asked for; after that, each
file is one copy of its bytes into memory. Nothing is unpacked.
"""

from __future__ import annotations

import os
import re
import tarfile
import threading
import unicodedata
from collections import OrderedDict
from typing import BinaryIO, NamedTuple, cast

from schemas.failures import ErrorCode
from serve_app.audio.errors import AudioError
from serve_app.audio.unnamed import unnamed

SUFFIX = ".tar"
#: Most files in an archive, and in all archives whose headers are kept.
MAX_FILES = 1_000_000
#: Most bytes that are read at a time while headers are read: extended ones say how long they are.
_MAX_READ = 1 << 20
#: Most blocks of zeros between two archives in a file; `tar` fills the last of 20 blocks.
_MAX_ZEROS = 2048
_COMPRESSED = re.compile(r"\.(tar\.(gz|bz2|xz|zst)|tgz|tbz2|txz)/")
#: NeMo's names for the further segments of a file that an archive has once.
_SEGMENT = re.compile(r"-sub\d+(?=(\.\w+)?$)")


class _Member(NamedTuple):
    """Where the bytes of a file are in the archive."""

    start: int
    size: int


class _Contents(NamedTuple):
    """The regular files of an archive by their names, and whether it is damaged after them."""

    files: dict[str, _Member]
    damaged: bool


class _Key(NamedTuple):
    """A version of an archive."""

    device: int
    inode: int
    size: int
    modified_ns: int


def split_archive(path: str) -> tuple[str, str] | None:
    """An archive and a file in it, of ``audio_3.tar/utterance.wav``; None for other paths."""
    end = path.find(SUFFIX + "/")
    if end <= 0:
        return None
    end += len(SUFFIX)
    member = path[end:].strip("/")
    return (path[:end], member) if member else None


def in_compressed_archive(path: str) -> bool:
    """Whether `path` names a file in a compressed archive, which is not read."""
    return _COMPRESSED.search(path) is not None


class Archives:
    """The headers of archives that were read lately. Any number of threads may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reading: dict[_Key, threading.Lock] = {}
        self._known: OrderedDict[_Key, _Contents] = OrderedDict()

    def open(self, archive: int, named: str, name: str, max_bytes: int) -> int:
        """Copy a file out of an archive.

        Args:
            archive: descriptor of the archive; moved, not closed.
            named: what messages call the archive.
            name: of the file in it.
            max_bytes: largest file.

        Returns:
            A descriptor of the copy, at its start. The caller closes it.

        Raises:
            AudioError: the archive is none or is damaged, there is no such file in it, or it is
                larger than `max_bytes`.
            OSError: it cannot be read.
        """
        contents = self._contents(archive)
        files = contents.files
        found = files.get(_name_of(name)) or files.get(_SEGMENT.sub("", _name_of(name)))
        if found is None:
            if contents.damaged:
                raise AudioError(
                    ErrorCode.AUDIO_UNDECODABLE,
                    f"not in the part of {named} that can be read: it is damaged or cut short; "
                    "fetch it again",
                )
            raise AudioError(
                ErrorCode.AUDIO_MISSING, f"no such file in {named}; check `audio_filepath`"
            )
        if found.size > max_bytes:
            raise AudioError(
                ErrorCode.AUDIO_TOO_LARGE,
                f"has {found.size} bytes, `audio.max_bytes` is {max_bytes}; split it",
            )
        copy = unnamed(found.size)
        try:
            _copy(archive, found, copy)
        except BaseException:
            os.close(copy)
            raise
        return copy

    def _contents(self, archive: int) -> _Contents:
        status = os.fstat(archive)
        key = _Key(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        with self._lock:
            reading = self._reading.setdefault(key, threading.Lock())
        with reading:  # others that want the same archive wait for it
            with self._lock:
                if (known := self._known.get(key)) is not None:
                    self._known.move_to_end(key)
                    return known
            try:
                contents = _read_headers(archive)
            finally:
                with self._lock:
                    self._reading.pop(key, None)
            with self._lock:
                self._known[key] = contents
                while len(self._known) > 1 and self._count() > MAX_FILES:
                    self._known.popitem(last=False)
            return contents

    def _count(self) -> int:
        return sum(len(each.files) for each in self._known.values())


def _read_headers(archive: int) -> _Contents:
    """What is in an archive; of a damaged one, what comes before the damage."""
    files: dict[str, _Member] = {}
    fault: Exception | None = None
    with os.fdopen(os.dup(archive), "rb", buffering=1 << 16) as file:
        file.seek(0)
        try:
            while True:  # one after another, as `cat` puts them and `tar --ignore-zeros` reads them
                with tarfile.open(fileobj=cast(BinaryIO, _Bounded(file)), mode="r:") as tar:
                    while (member := tar.next()) is not None:
                        tar.members.clear()  # type: ignore[attr-defined]  # it would keep all
                        _add(files, member)
                file.seek(tar.offset)
                if any(file.read(tarfile.BLOCKSIZE)):  # an archive ends with zeros, or just so
                    fault = tarfile.ReadError("a damaged header")
                    break
                if not _skip_zeros(file):
                    break
        except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError) as error:
            fault = error
    if fault is not None and not files:
        raise AudioError(
            ErrorCode.AUDIO_UNDECODABLE,
            f"the archive is damaged, or no tar file without compression: {fault}; make it again",
        ) from fault
    return _Contents(files, damaged=fault is not None)


def _skip_zeros(file: BinaryIO) -> bool:
    """Move to the next block that is not all zeros; whether there is one soon."""
    for _ in range(_MAX_ZEROS):
        block = file.read(tarfile.BLOCKSIZE)
        if any(block):
            file.seek(-len(block), os.SEEK_CUR)
            return True
        if not block:
            break
    return False


def _add(files: dict[str, _Member], member: tarfile.TarInfo) -> None:
    found: _Member | None = None
    if member.isreg() and not member.issparse():
        found = _Member(member.offset_data, member.size)
    elif member.islnk():  # the same file once more
        found = files.get(_name_of(member.linkname))
    elif member.issym():
        folder = os.path.dirname(_name_of(member.name))
        found = files.get(_name_of(os.path.join(folder, member.linkname)))
    if found is None:
        return
    if len(files) == MAX_FILES:
        raise AudioError(
            ErrorCode.AUDIO_UNSUPPORTED,
            f"the archive has more than {MAX_FILES} files; make smaller ones",
        )
    files[_name_of(member.name)] = found


def _name_of(path: str) -> str:
    """The name of a file in an archive, without the ``./`` that some begin with.

    Composed and decomposed letters are the same: macOS decomposes names.
    """
    return unicodedata.normalize("NFC", os.path.normpath(path).lstrip("/"))


class _Bounded:
    """A file that is not read in pieces as large as a damaged header says."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if size > _MAX_READ:
            raise tarfile.ReadError("a header of impossible size")
        return self._file.read(size)


def _copy(archive: int, member: _Member, to: int) -> None:
    start, left = member
    while left:
        sent = os.sendfile(to, archive, start, left)
        if not sent:
            raise AudioError(
                ErrorCode.AUDIO_UNDECODABLE, "the archive is cut short; fetch it again"
            )
        start, left = start + sent, left - sent
    os.lseek(to, 0, os.SEEK_SET)
