"""Where audio comes from: one source per URL scheme. Here is `file`, the local file system.

A source turns a location into an open file descriptor and says nothing about audio. Object stores
and web servers that `audio.roots` names are in `serve_app.audio.remote`. For anything else, write a
`Source` (copy the object, bounded by `audio.max_bytes`, into an unnamed file) and hand it to
`AudioLoader(settings, sources={"scheme": ...})`.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections.abc import Sequence
from typing import Protocol
from urllib.parse import unquote, urlsplit

from schemas.failures import ErrorCode
from serve_app.audio.archives import Archives, in_compressed_archive, split_archive
from serve_app.audio.errors import AudioError, from_os_error

#: ``file:/path`` is a URL as well: Java's libraries write it.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://|(file):/", re.IGNORECASE)


class Source(Protocol):
    """A place that audio is read from. Called from several threads at once."""

    def open(self, location: str) -> int:
        """Open `location` for reading.

        Returns:
            A descriptor of a regular file, at its start and seekable. The caller closes it.

        Raises:
            AudioError: it may not or cannot be read; the message does not repeat the location.
            OSError: the system refused.
        """
        ...


def split_scheme(path: str) -> tuple[str, str]:
    """`path` as (scheme, location): ("file", a path) for plain paths and `file://` URLs."""
    url = _URL.match(path)
    if url is None:
        return "file", path
    scheme = (url[1] or url[2]).lower()
    if scheme != "file":
        return scheme, path
    parts = urlsplit(path)
    if parts.netloc not in ("", "localhost"):
        raise AudioError(
            ErrorCode.AUDIO_OUTSIDE_ROOTS, "names another host; write file:///path/on/this/host"
        )
    return scheme, unquote(parts.path)


def spellings(path: str) -> list[str]:
    """`path`, and with letters that are composed or decomposed as macOS does, if that differs."""
    if path.isascii():
        return [path]
    forms = (unicodedata.normalize(form, path) for form in ("NFC", "NFD"))
    return list(dict.fromkeys([path, *forms]))


class FileSource:
    """Regular files under allowed root folders, on Linux.

    The roots are resolved once, here: point them at real folders, not at links that move.

    A file is first opened as a bare handle (`O_PATH`), which neither reads, blocks nor wakes a
    device. The kernel is asked where that handle really is and what it is; only then the same
    handle, not the path, is opened for reading. So links and `..` cannot lead outside a root, a
    FIFO cannot block, and nothing can be swapped between the check and the use.

    A file in a tar archive is named as if the archive were a folder, ``audio_3.tar/clip.wav``.

    Args:
        roots: the allowed folders.
        max_bytes: largest file in an archive.
    """

    def __init__(self, roots: Sequence[str], max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._archives = Archives()
        self._roots = [os.path.abspath(root) for root in roots]
        resolved = [os.path.realpath(root) for root in roots]
        self._inside = tuple(_as_prefix(root) for root in resolved)
        self._named_inside = tuple({_as_prefix(root) for root in [*self._roots, *resolved]})

    def open(self, location: str) -> int:
        """As `Source.open`. A relative `location` is looked up under each root in order."""
        handle, inside = self._find(location)
        try:
            by_handle = f"/proc/self/fd/{handle}"
            if not _as_prefix(os.readlink(by_handle)).startswith(self._inside):
                raise _outside()
            mode = os.fstat(handle).st_mode
            if not stat.S_ISREG(mode):
                raise AudioError(
                    ErrorCode.AUDIO_UNREADABLE, f"is {_kind(mode)}, not a file; name an audio file"
                )
            file = os.open(by_handle, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        finally:
            os.close(handle)
        if inside is None:
            return file
        archive, member = inside
        try:
            return self._archives.open(file, os.path.basename(archive), member, self._max_bytes)
        finally:
            os.close(file)

    def _find(self, location: str) -> tuple[int, tuple[str, str] | None]:
        """A descriptor (`O_PATH`) of the first match under the roots.

        If that is an archive, the second is its path, and the name of the file in it.
        """
        if os.path.isabs(location):
            candidates = spellings(location)
        else:
            candidates = [
                os.path.join(root, each) for root in self._roots for each in spellings(location)
            ]
        for candidate in candidates:
            try:
                return _open_path(candidate)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except ValueError:  # a NUL, or a character that no file name can hold
                break
            except OSError as error:
                raise self._refused(candidates, from_os_error(error)) from None
        raise self._refused(candidates, self._missing(location))

    def _refused(self, candidates: list[str], reason: AudioError) -> AudioError:
        """The error `reason`, or one that does not reveal what exists outside the roots."""
        names = [_as_prefix(os.path.normpath(name)) for name in candidates]
        return reason if any(name.startswith(self._named_inside) for name in names) else _outside()

    def _missing(self, location: str) -> AudioError:
        # A root that vanished is an outage of the storage, not a fault of the record.
        if not all(os.path.isdir(root) for root in self._roots):
            return AudioError(
                ErrorCode.AUDIO_IO, "a folder of `audio.roots` is gone; is its storage mounted?"
            )
        if in_compressed_archive(location):
            return AudioError(
                ErrorCode.AUDIO_UNSUPPORTED,
                "is in a compressed archive, all of which would have to be unpacked for each file; "
                "decompress it to a .tar",
            )
        return AudioError(
            ErrorCode.AUDIO_MISSING, "no such file under `audio.roots`; check `audio_filepath`"
        )


def _open_path(path: str) -> tuple[int, tuple[str, str] | None]:
    try:
        return os.open(path, os.O_PATH), None
    except NotADirectoryError:  # a file is used as a folder, which an archive may be
        inside = split_archive(path)
        if inside is None:
            raise
        return os.open(inside[0], os.O_PATH), inside


def _as_prefix(folder: str) -> str:
    """`folder` with a slash at its end, so that /data does not match /database."""
    return folder if folder.endswith("/") else folder + "/"


def _outside() -> AudioError:
    return AudioError(
        ErrorCode.AUDIO_OUTSIDE_ROOTS,
        "lies outside the allowed folders; move it there or add its folder to `audio.roots`",
    )


_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def _kind(mode: int) -> str:
    return _KINDS.get(stat.S_IFMT(mode), "something else")
