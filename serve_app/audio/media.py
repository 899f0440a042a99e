"""The structure of M4A and MP4, WebM and Matroska, and AAC, which only FFmpeg reads."""

from __future__ import annotations

import os
from collections.abc import Iterator

from serve_app.audio.header import Container, Header
from serve_app.audio.mpeg import is_adts

#: Types of the boxes that an MP4 or QuickTime file begins with (ISO 14496-12, 4.2).
_FIRST_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})
#: Boxes that must be whole; behind them there may be anything.
_NEEDED_BOXES = frozenset({b"moov", b"moof", b"mdat"})
_MAX_BOXES = 100_000
EBML, _SEGMENT = b"\x1aE\xdf\xa3", b"\x18S\x80g"  # RFC 8794, RFC 9559


def read_media(fd: int, magic: bytes, start: int) -> Header | None:
    """Read the header of the file open at `fd`, if only FFmpeg reads it.

    It says whether the file ends before its structure says, which FFmpeg does not. Recordings of a
    browser state no length, so it cannot be seen where one of them is cut.

    Args:
        fd: descriptor of a regular file; its position stays where it is.
        magic: bytes from `start` on.
        start: where the audio begins, behind ID3 tags.

    Returns:
        None for another container.
    """
    size = os.fstat(fd).st_size
    if start == 0 and magic[4:8] in _FIRST_BOXES:
        return _header(Container.MP4, cut=_mp4_end(fd, size) > size)
    if start == 0 and magic.startswith(EBML):
        return _header(Container.WEBM, cut=_matroska_end(fd) > size)
    if is_adts(magic):
        return _header(Container.AAC)
    return None


def _header(container: Container, *, cut: bool = False) -> Header:
    return Header(container, cut=cut, length_known=False, irregular=True)


def media_end(fd: int, container: Container) -> int | None:
    """Where the structure of the MP4 or WebM file open at `fd` ends, and another may begin.

    Returns:
        None for another container, and where the file does not say.
    """
    if container is Container.WEBM:
        return _matroska_end(fd) or None
    if container is not Container.MP4:
        return None
    size, end = os.fstat(fd).st_size, 0
    for position, length, name in _mp4_boxes(fd, size):
        is_next = name == b"ftyp" and position > 0
        if is_next or not name.isascii() or not name.decode().isprintable():
            return position
        end = position + length
    return end


def _mp4_end(fd: int, size: int) -> int:
    """Offset of the end of the last box that must be complete."""
    ends = [at + length for at, length, name in _mp4_boxes(fd, size) if name in _NEEDED_BOXES]
    return max(ends, default=0)


def _mp4_boxes(fd: int, size: int) -> Iterator[tuple[int, int, bytes]]:
    """The outermost boxes of a file of `size` bytes: where each begins, its length and its type."""
    position = 0
    for _ in range(_MAX_BOXES):
        head = os.pread(fd, 16, position)
        length, name = int.from_bytes(head[:4]), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16])
        if len(head) < 8 or length < 8:  # 0 is "to the end of the file"
            return
        yield position, length, name
        position += length
        if position >= size:
            return


def _matroska_end(fd: int) -> int:
    """Offset of the end of the segment, which follows the EBML header; 0 where it is unstated."""
    position = 0
    for name in (EBML, _SEGMENT):
        head = os.pread(fd, 4 + 8, position)
        length, width = _ebml_size(head[4:])
        if not head.startswith(name) or length is None:
            return 0
        position += 4 + width + length
    return position


def _ebml_size(data: bytes) -> tuple[int | None, int]:
    """A size of 1 to 8 bytes (RFC 8794, 4 and 6): (bytes or None for unknown, its own width)."""
    width = 9 - data[0].bit_length() if data else 9
    if width > len(data):
        return None, width
    ones = (1 << 7 * width) - 1
    value = int.from_bytes(data[:width]) & ones
    return (None if value == ones else value), width
