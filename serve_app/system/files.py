"""Files: their digests, and writing them completely or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

#: Errors of filesystems that cannot flush a folder; the rename itself has succeeded by then.
_CANNOT_FLUSH_FOLDER = frozenset({errno.EACCES, errno.EBADF, errno.EINVAL, errno.ENOTSUP})


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """Name `path` in errors of the system that name no file, such as those of a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


def check_place(path: Path) -> None:
    """Check that a file can be made at `path`, before work is done for it.

    Raises:
        OSError: there is no such folder, or a folder is there; the error names it.
    """
    if not path.absolute().parent.is_dir():
        reason = f"there is no folder {path.parent}; make it, or name another file"
        raise FileNotFoundError(errno.ENOENT, reason, str(path))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder; name a file in it", str(path))


def write_all(descriptor: int, data: bytes) -> None:
    """Write `data` at once or in parts, without a buffer that would try again when it is closed.

    Raises:
        OSError: not all of it could be written, only a part from its start.
    """
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, lower-case hexadecimal. Reads all of it.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_list(digests: Mapping[str, str]) -> str:
    """SHA-256 of several files, from the digest of each by its name; as `sha256sum` lists them."""
    listed = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(listed.encode()).hexdigest()


def sha256_at(path: Path) -> str:
    """SHA-256 of a file, or of the files in a folder and below. Reads all of them.

    Raises:
        OSError: one cannot be read.
    """
    if not path.is_dir():
        return sha256_of(path)
    files = [each for each in path.rglob("*") if each.is_file()]
    return sha256_of_list({each.relative_to(path).as_posix(): sha256_of(each) for each in files})


def atomic_write(
    path: Path, content: bytes | str, *, mode: int | None = None, overwrite: bool = True
) -> None:
    """Write a file so that readers, and a crash, see its old content or all of the new one.

    Args:
        path: the file; its folder must exist.
        content: what it will hold; text is encoded as UTF-8.
        mode: permission bits, reduced by the umask. By default those of the file that is replaced,
            or 0o666 for a new one.
        overwrite: whether an existing file is replaced; otherwise it is an error.

    Raises:
        FileExistsError: the file exists and `overwrite` is false.
        OSError: it cannot be written; the old content is still there, and no temporary file is.
    """
    data = content.encode() if isinstance(content, str) else content
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with (
        _in_place_of(path, keep_mode=mode is None, overwrite=overwrite) as temporary,
        open(os.open(temporary, flags, 0o666 if mode is None else mode), "wb") as file,
    ):
        file.write(data)


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A path to write to, in place of `path`, for libraries that want a path.

    The block writes a file or a folder there. At its end that is flushed to disk and renamed to
    `path`; where the block raises, it is removed and `path` stays as it was. The temporary name
    has the suffix of `path`, and is in the same folder.

    Args:
        path: the result. A file replaces an existing file and takes its permission bits; a folder
            only replaces an empty folder.

    Yields:
        The temporary path, where there is nothing yet.

    Raises:
        OSError: the result cannot be flushed or renamed; nothing has changed.
    """
    with _in_place_of(path, keep_mode=True, overwrite=True) as temporary:
        yield temporary


@contextlib.contextmanager
def _in_place_of(path: Path, *, keep_mode: bool, overwrite: bool) -> Iterator[Path]:
    # random: two processes that write the same file do not write into each other's
    temporary = path.with_name(f".partial-{secrets.token_hex(4)}.{path.name}")
    try:
        with named(path):
            yield temporary
        for each in (temporary, *temporary.rglob("*")):
            if not each.is_symlink():
                _flush(each)
        if keep_mode and path.is_file():
            temporary.chmod(stat.S_IMODE(path.stat().st_mode) & 0o777)
        if overwrite:
            temporary.replace(path)
        else:
            path.hardlink_to(temporary)  # unlike a rename, it fails where there is a file
    finally:
        _remove(temporary)
    try:
        _flush(path.parent)  # the rename itself
    except OSError as error:
        if error.errno not in _CANNOT_FLUSH_FOLDER:
            raise


def _flush(path: Path) -> None:
    """Wait until the file or folder is on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
