"""The chunks of a WAV file: whether it is whole, and where its samples are."""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

from serve_app.audio.errors import AudioError
from serve_app.audio.header import Container, Header, Pcm16, undecodable, unsupported
from serve_app.audio.joined import joined_error, kind_at

_CODECS = {0x0001: "PCM", 0x0003: "float", 0x0006: "A-law", 0x0007: "mu-law"}
_EXTENSIBLE = 0xFFFE
_OTHER_CODECS = {0x0002: "MS ADPCM", 0x0011: "IMA ADPCM", 0x0031: "GSM", 0x0055: "MP3"}
#: From here on a size of `data` means "unknown": what programs write that stream WAV to a pipe.
_UNKNOWN_SIZE = 0x7FFF_0000
_MAX_CHUNKS = 1000


class Samples(NamedTuple):
    """Where the samples of a WAV file are.

    Attributes:
        start: of the first one, in bytes.
        size: of all, in bytes, as the header says.
        frame_bytes: of one frame, with all channels.
        rate: frames a second.
    """

    start: int
    size: int
    frame_bytes: int
    rate: int


class _Format(NamedTuple):
    rate: int
    byte_rate: int
    frame_bytes: int
    #: Of a frame, where each has 16 bits; else 0.
    channels_of_16: int


class _Data(NamedTuple):
    """The chunk `data`: where it begins, the size that it states, and that of a long file."""

    start: int
    size: int
    size_64: int


def read_wav(fd: int) -> Header:
    """Read the chunks up to `data`; refuse a codec that is not allowed and missing samples.

    Args:
        fd: descriptor of a file that begins as a WAV file does.

    Raises:
        AudioError: as of `read_header`.
    """
    form, data = _chunks(fd)
    return _checked(fd, data, form)


def find_samples(fd: int) -> Samples | None:
    """Where the samples of a WAV file are.

    Args:
        fd: descriptor of a file of any kind, of which the beginning is enough.

    Returns:
        None where it is no WAV file, where it is one that is not read, or where it does not say how
        long it is.
    """
    head = os.pread(fd, 12, 0)
    if head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
        return None
    try:
        form, data = _chunks(fd)
    except AudioError:
        return None
    size = data.size if data.size < _UNKNOWN_SIZE else data.size_64
    if not (size and form.rate and form.frame_bytes):
        return None
    return Samples(data.start, size, form.frame_bytes, form.rate)


def _chunks(fd: int) -> tuple[_Format, _Data]:
    """The format and the samples."""
    position = 12
    form: _Format | None = None
    size_64 = 0
    for _ in range(_MAX_CHUNKS):
        head = os.pread(fd, 8 + 40, position)
        if len(head) < 8:
            break
        name, size = struct.unpack_from("<4sI", head)
        body = head[8 : 8 + size]
        if name == b"ds64" and len(body) >= 16:  # RF64: EBU Tech 3306
            (size_64,) = struct.unpack_from("<Q", body, 8)
        elif name == b"fmt " and form is None:
            form = _read_format(body)
        elif name == b"data":
            if form is None:
                raise undecodable("is a WAV file without a format (`fmt ` before `data`)")
            return form, _Data(position + 8, size, size_64)
        position += 8 + size + (size & 1)
    raise undecodable("is a WAV file without samples (no `data`)")


def _checked(fd: int, data: _Data, form: _Format) -> Header:
    """Compare the stated size of the samples with that of the file."""
    start, size, size_64 = data
    file_size = os.fstat(fd).st_size
    if size >= _UNKNOWN_SIZE:
        if size_64 == 0:  # to the end of the file
            return Header(Container.WAV)
        size = size_64
    end = start + size + (size & 1)
    behind = os.pread(fd, 4096, end)
    if behind and (other := kind_at(fd, end)) not in {None, Container.WAV}:
        raise joined_error(Container.WAV, end, other)
    if size == 0 and behind and not _is_chunk(behind, file_size - end):
        return Header(Container.WAV, irregular=True)  # its recorder did not come to the end
    tenth = form.byte_rate // 10
    if file_size - end > tenth and behind.strip(b"\0") and not _is_chunk(behind, file_size - end):
        raise undecodable(
            f"is a WAV file with {file_size - end} bytes behind the samples that its header tells "
            "of: files that were joined, or a recording that was not finished; write it anew"
        )
    pcm = None
    if form.channels_of_16 and start + size <= file_size:
        frames = size // form.frame_bytes
        pcm = Pcm16(start, frames, form.channels_of_16, form.rate)
    return Header(Container.WAV, cut=start + size - file_size > tenth, pcm=pcm)


def _is_chunk(head: bytes, size: int) -> bool:
    """Whether `size` bytes that begin with `head` are a RIFF chunk, and not another file."""
    if len(head) < 8 or head.startswith((b"RIFF", b"RF64")):
        return False
    name, stated = struct.unpack_from("<4sI", head)
    return all(0x20 <= each < 0x7F for each in name) and 8 + stated <= size


def _read_format(body: bytes) -> _Format:
    """The format chunk `body`; refuse a codec that is not allowed."""
    if len(body) < 16:
        raise undecodable("is a WAV file with a broken format (`fmt ` is too short)")
    codec, channels, rate, byte_rate, frame_bytes, bits = struct.unpack_from("<HHIIHH", body)
    if codec == _EXTENSIBLE and len(body) >= 26:
        (codec,) = struct.unpack_from("<H", body, 24)
    if codec not in _CODECS:
        name = _OTHER_CODECS.get(codec, f"codec 0x{codec:04x}")
        raise unsupported(f"is a WAV file of {name}")
    of_16 = _CODECS[codec] == "PCM" and bits == 16 and frame_bytes == 2 * channels and rate > 0
    return _Format(rate, byte_rate, frame_bytes, channels if of_16 else 0)
