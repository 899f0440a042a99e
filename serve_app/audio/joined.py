"""Files of different formats that were joined into one, as `cat` does.

Decoders read the first, and none says that it leaves out the rest.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import islice

from schemas.failures import ErrorCode
from serve_app.audio.errors import AudioError
from serve_app.audio.header import Container, Header
from serve_app.audio.media import EBML, media_end
from serve_app.audio.mpeg import LAYER_3, first_frames, has_frames, is_mpeg, skip_id3, skip_tags
from serve_app.audio.ogg import OGG_BEGINNING, ogg_end
from serve_app.audio.windows import windows

#: What a file of the format begins with, or has within a few bytes; `kind_at` tells for certain.
_SIGNATURES = {
    Container.WAV: re.compile(rb"RIFF....WAVE", re.DOTALL),
    Container.FLAC: re.compile(rb"fLaC[\x00\x80]\x00\x00\x22"),  # RFC 9639, 8.2
    Container.OGG: OGG_BEGINNING,
    Container.WEBM: re.compile(re.escape(EBML)),
    Container.MP4: re.compile(rb"ftyp"),
}
#: Bytes of a box ahead of its type, see `_SIGNATURES`.
_AHEAD = {Container.MP4: 4}
_MAX_FTYP = 1024
#: Bytes of the end of a file that are searched for frames of MPEG audio: there is no signature.
_TAIL = 64 << 10
#: Bytes that a decoder may have read beyond what it decoded: libFLAC's buffer has 8 KiB.
_READ_AHEAD = 16 << 10
_FLAC_BLOCKS = 200
#: Frames of an MP3 that states its length which may be left: an encoder's padding.
_PADDING_FRAMES = 10


def kind_at(fd: int, position: int) -> Container | None:
    """The format of the file that begins at the byte `position`, with ID3 tags or without."""
    head = os.pread(fd, 64, position)
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return Container.WAV
    if OGG_BEGINNING.match(head):
        return Container.OGG
    if head[4:8] == b"ftyp" and 8 < int.from_bytes(head[:4]) <= _MAX_FTYP:
        return Container.MP4
    if head.startswith(EBML) and (b"webm" in head or b"matroska" in head):
        return Container.WEBM
    audio = skip_id3(fd, position)
    if _flac_frames(fd, audio) is not None:
        return Container.FLAC
    if has_frames(fd, audio):
        layer_3 = is_mpeg(os.pread(fd, 4, audio), LAYER_3)
        return Container.MP3 if layer_3 else Container.AAC
    return None


def goes_on(fd: int, header: Header) -> bool:
    """Whether there is more audio behind what libsndfile, which just read it, takes for the end.

    That is another file that was appended, or frames of an MP3 beyond a length that was estimated.
    """
    if header.container is Container.MP3:
        return _mp3_continues(fd, header)
    if header.container is Container.WAV:  # `read_header` has looked behind its samples
        return False
    if len(list(islice(_beginnings(fd, header.container), 2))) == 2:
        return True
    return _other(fd, header, os.lseek(fd, 0, os.SEEK_CUR) - _READ_AHEAD) is not None


def refuse_other(fd: int, header: Header) -> None:
    """Refuse a file that goes on with one of another format.

    Args:
        fd: descriptor of the file, which may be damaged.
        header: what is known of its beginning.

    Raises:
        AudioError: `AUDIO_UNSUPPORTED`.
    """
    if (found := _other(fd, header, 0)) is None:
        return
    kind, position = found
    raise joined_error(header.container, position, kind)


def joined_error(container: Container, position: int, other: Container) -> AudioError:
    """The error of a file of which `other` begins at the byte `position`."""
    return AudioError(
        ErrorCode.AUDIO_UNSUPPORTED,
        f"is {container} up to byte {position}, where another file begins ({other}): files that "
        "were joined; give each as a file of its own",
    )


def _mp3_continues(fd: int, header: Header) -> bool:
    """Whether frames, or another file, follow where the decoder of `fd` has stopped."""
    position = os.lseek(fd, 0, os.SEEK_CUR)
    start = skip_tags(fd, position)
    if header.length_known:
        return kind_at(fd, start) not in {None, Container.MP3} or has_frames(
            fd, start, _PADDING_FRAMES
        )
    if is_mpeg(os.pread(fd, 4, start), LAYER_3):
        return True
    return _other(fd, header, position - _READ_AHEAD) is not None


def _other(fd: int, header: Header, start: int) -> tuple[Container, int] | None:
    """The first file of another format, and where it begins.

    Args:
        fd: descriptor of the file.
        header: what is known of its beginning.
        start: the byte from which on it may begin, if the format itself does not tell.
    """
    container = header.container
    if container is Container.OGG:
        return _kind_from(fd, container, ogg_end(fd))
    if (end := media_end(fd, container)) is not None:
        # FFmpeg reads one WebM file after another, and of MP4 files the first
        return _kind_from(fd, None if container is Container.MP4 else container, end)
    if container is Container.FLAC:
        start = max(start, _flac_frames(fd, skip_id3(fd)) or 0)
    return _search(fd, container, start)


def _kind_from(fd: int, own: Container | None, end: int) -> tuple[Container, int] | None:
    kind = kind_at(fd, end)
    return None if kind is None or kind is own else (kind, end)


def _search(fd: int, own: Container, start: int) -> tuple[Container, int] | None:
    start = max(start, skip_id3(fd))
    size = os.fstat(fd).st_size
    frames = own not in {Container.MP3, Container.AAC, Container.WAV} and (
        first_frames(os.pread(fd, _TAIL, max(start, size - _TAIL))) is not None
    )
    for begin, data in windows(fd, start):
        found = [
            (position, kind)
            for kind in _SIGNATURES.keys() - {own}
            for position in _positions(kind, begin, data)
            if position > 0 and kind_at(fd, position) is kind
        ]
        if frames and (at := first_frames(data)) is not None:
            found.append((begin + at, kind_at(fd, begin + at) or Container.MP3))
        if found:
            position, kind = min(found)
            return kind, position
    return None


def _positions(kind: Container, begin: int, data: bytes) -> Iterator[int]:
    """Where files of a format may begin in `data`, which is at the byte `begin` of a file."""
    for match in _SIGNATURES[kind].finditer(data):
        yield begin + match.start() - _AHEAD.get(kind, 0)


def _beginnings(fd: int, kind: Container) -> Iterator[int]:
    """Where each file of a format may begin, once, in order."""
    last = -1
    for begin, data in windows(fd):
        for position in _positions(kind, begin, data):
            if position > last:
                yield position
                last = position


def _flac_frames(fd: int, position: int) -> int | None:
    """Where the frames of the FLAC file at `position` begin, behind its metadata.

    Returns:
        None if there is no FLAC file: Matroska has the metadata of one without frames.
    """
    if os.pread(fd, 4, position) != b"fLaC":
        return None
    position += 4
    for _ in range(_FLAC_BLOCKS):
        block = os.pread(fd, 4, position)
        if len(block) < 4:
            return None
        position += 4 + int.from_bytes(block[1:])
        if block[0] & 0x80:  # the last one
            break
    frame = os.pread(fd, 2, position)
    return position if frame in (b"\xff\xf8", b"\xff\xf9") else None
