"""Where a manifest is read from: a file, a pipe or standard input, or an object store.

A pipe or an object is copied into an unnamed temporary file when it is first read, so that a
manifest can be read as often as a file can: to check it, to count it, to use it.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from schemas.manifest_text import plain_text

if TYPE_CHECKING:
    from serve_app.registry.object_store import ObjectStore

#: The name of standard input, or output, as in other commands.
STANDARD_STREAM = Path("-")

#: Paths that stand for an open file of the process, whose folder is nobody's.
_DESCRIPTOR = re.compile(r"-|/dev/std(in|out)|/dev/fd/\d+|/proc/[^/]+/fd/\d+")

#: A URL of an object store, of which a path keeps one slash.
_OBJECT = re.compile(r"(s3|gs|az):/+(.+)")

#: Copies of pipes, by device and number, and of objects, by their URL.
_copies: dict[tuple[int, int] | str, BinaryIO] = {}


def url_of(path: Path) -> str | None:
    """The URL of a manifest in an object store; None for any other."""
    found = _OBJECT.fullmatch(str(path))
    return f"{found[1]}://{found[2]}" if found else None


def is_stream(path: Path) -> bool:
    """Whether `path` is standard input or output, a pipe, a device or an object: no file here.

    Raises:
        OSError: there is nothing at `path`.
    """
    if url_of(path) is not None or _DESCRIPTOR.fullmatch(str(path)) is not None:
        return True
    return not (path.is_dir() or _is_file(path))


def is_output_stream(path: Path) -> bool:
    """Whether what is written to `path` goes to a stream; where nothing is yet, a file will be.

    Raises:
        OSError: it cannot be seen what is at `path`.
    """
    try:
        return is_stream(path)
    except FileNotFoundError:
        return False


def is_standard_output(path: Path) -> bool:
    """Whether what is written to `path` goes to standard output."""
    return str(path) in ("-", "/dev/stdout")


def name_of(path: Path) -> str:
    """What a manifest is called in ids and messages: its file name; ``stdin`` for a pipe to it."""
    return "stdin" if str(path) in ("-", "/dev/stdin") else path.name


def folder_of(path: Path) -> Path:
    """The folder that relative audio paths are looked up in first: absolute, links not resolved.

    That of the manifest; for a stream the current one; of an object a path where there is nothing,
    since its folder is a URL.
    """
    if url_of(path) is not None:
        return path.parent
    return Path.cwd() if is_stream(path) else path.absolute().parent


def file_sha256(path: Path) -> str:
    """SHA-256 digest of a manifest file as it is stored or sent, lower-case hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    with _open(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def manifest_text(path: Path) -> Iterator[bytes]:
    """The lines of the manifest at `path`, with their ends, as UTF-8; see `plain_text`.

    Raises:
        ManifestFileError: it is compressed and damaged, or not text.
        OSError: it cannot be read.
    """
    with _open(path) as file, plain_text(file, str(path)) as text:
        yield from text


def _open(path: Path) -> io.BufferedReader:
    """The bytes of a manifest, from their start, as often as it is called."""
    if not is_stream(path):
        return path.open("rb")
    url = url_of(path)
    if url is not None:
        place: tuple[int, int] | str = url
    else:
        status = os.fstat(0) if path == STANDARD_STREAM else path.stat()
        place = (status.st_dev, status.st_ino)
    if place not in _copies:
        copy = tempfile.TemporaryFile(prefix="chorus-manifest-")  # noqa: SIM115  kept open
        if url is not None:
            store, name = store_of(path)
            store.fetch(name, Path(f"/proc/self/fd/{copy.fileno()}"))
        else:
            with os.fdopen(os.dup(0), "rb") if path == STANDARD_STREAM else path.open("rb") as pipe:
                shutil.copyfileobj(pipe, copy)
            copy.flush()
        _copies[place] = cast(BinaryIO, copy)
    return open(f"/proc/self/fd/{_copies[place].fileno()}", "rb")


def store_of(path: Path) -> tuple[ObjectStore, str]:
    """The folder of an object, as a store, and the object's name in it.

    Args:
        path: of which `url_of` gives the URL.

    Raises:
        OSError: the URL names no bucket, or a package is missing.
    """
    url = url_of(path) or ""
    try:
        from serve_app.registry.object_store import ObjectStore
    except ModuleNotFoundError:
        raise OSError(
            f"{url}: needs the package obstore, which is not installed: "
            "pip install 'chorus-asr[objectstore]'"
        ) from None
    folder, _, name = url.rpartition("/")
    try:
        return ObjectStore(folder), name
    except ValueError as error:  # no bucket, or no account
        raise OSError(str(error)) from None


def _is_file(path: Path) -> bool:
    return stat.S_ISREG(path.stat().st_mode)
