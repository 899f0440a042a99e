"""The text of a manifest as it is stored or sent: compressed or not, in UTF-8, UTF-16 or UTF-32."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO, cast

from schemas.manifest import BYTE_ORDER_MARK

#: Encodings by the bytes that a manifest in them begins with; the longer ones first.
_ENCODINGS = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
    b"{\x00": "utf-16-le",
    b"\x00{": "utf-16-be",
}
_DAMAGED = (EOFError, zlib.error, lzma.LZMAError)

#: A binary file that can be looked into without reading.
Peekable = io.BufferedReader | io.BufferedRandom


class ManifestFileError(ValueError):
    """A file as a whole is no manifest; the message names it and says what to do."""


@contextmanager
def plain_text(file: Peekable, name: str) -> Iterator[Peekable]:
    """What a manifest says, as UTF-8, within the block.

    gzip, bzip2, xz and zstd are decompressed; UTF-16 and UTF-32 are recognised by their byte order
    mark, UTF-16 also by its first character. Errors that the block meets in reading are raised as
    those of the manifest.

    Args:
        file: the manifest, at its start.
        name: what messages call it.

    Yields:
        A file of the text; `file` itself if that is plain UTF-8.

    Raises:
        ManifestFileError: it is compressed and damaged, or not text.
        OSError: it cannot be read.
    """
    with ExitStack() as stack:
        try:
            head = file.peek(8)[:8]
            for magic, decompress in _COMPRESSED.items():
                if head.startswith(magic):
                    file = stack.enter_context(io.BufferedReader(decompress(name, file)))
                    break
            yield _decoded(name, file)
        except _DAMAGED as error:
            raise _damaged(name, error) from None
        except OSError as error:
            if error.errno is None:  # of a decompressor, not of the system
                raise _damaged(name, error) from None
            raise
        except UnicodeError as error:
            raise ManifestFileError(f"{name}: is not the text that it begins as: {error}") from None


def _damaged(name: str, error: Exception) -> ManifestFileError:
    reason = str(error) or type(error).__name__
    return ManifestFileError(f"{name}: is damaged or cut short: {reason}; fetch it again")


def _decoded(name: str, file: Peekable) -> Peekable:
    head = file.peek(64)[:64]
    for start, encoding in _ENCODINGS.items():
        if head.startswith(start):
            return io.BufferedReader(_Utf8(file, encoding))
    if b"\0" in head:
        raise ManifestFileError(f"{name}: is not text; a manifest has a JSON object on each line")
    if head.removeprefix(BYTE_ORDER_MARK).lstrip().startswith(b"["):
        raise ManifestFileError(
            f"{name}: is a JSON array; a manifest has a JSON object on each line "
            "(`jq -c '.[]'` makes them)"
        )
    return file


class _Utf8(io.RawIOBase):
    """The text of a file in another encoding, as UTF-8."""

    def __init__(self, file: Peekable, encoding: str) -> None:
        self._text = io.TextIOWrapper(file, encoding=encoding, newline="")
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left:
            self._left = self._text.read(len(buffer)).encode()
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size


def _zstd(name: str, file: BinaryIO) -> BinaryIO:
    try:
        import pyarrow
    except ModuleNotFoundError:
        raise ManifestFileError(
            f"{name}: is compressed with zstd, which needs the package pyarrow: `pip install "
            "pyarrow`, or decompress it with `zstd -d`"
        ) from None
    return cast(BinaryIO, pyarrow.CompressedInputStream(file, "zstd"))


#: What decompresses, by the bytes that such a file begins with.
_COMPRESSED: dict[bytes, Callable[[str, Any], Any]] = {
    b"\x1f\x8b": lambda name, file: gzip.GzipFile(fileobj=file),
    b"BZh": lambda name, file: bz2.BZ2File(file),
    b"\xfd7zXZ\x00": lambda name, file: lzma.LZMAFile(file),  # noqa: SIM115  closed by the caller
    b"\x28\xb5\x2f\xfd": _zstd,
}
