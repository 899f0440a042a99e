"""Decoding an uploaded file of any supported format.

WAV, FLAC, MP3 and Ogg go the way of all audio (`formats`, `recordings`). M4A and MP4, WebM and
Matroska, and AAC go through FFmpeg.

The limits here are on the result only; `sandbox` decodes untrusted files in other processes.
"""

from __future__ import annotations

import os

from schemas.settings import AudioSettings
from serve_app.audio.clip import Recording
from serve_app.audio.downmix import mixed
from serve_app.audio.ffmpeg import AAC, MATROSKA, MP4, Kind, decode_by_ffmpeg
from serve_app.audio.formats import read_header, skip_id3
from serve_app.audio.limits import damaged
from serve_app.audio.recordings import decode_segment

#: The formats that are read, in words.
MEDIA = "WAV, FLAC, MP3, Ogg (Vorbis, Opus), M4A, MP4, AAC or WebM"


def decode_media(fd: int, *, sample_rate: int, limits: AudioSettings) -> Recording:
    """Decode the whole file open at `fd`; of several audio tracks, the first.

    Args:
        fd: descriptor of a regular file, at its start; moved, not closed.
        sample_rate: hertz of the result.
        limits: on seconds, channels, sample rate, and bytes of encoded audio.

    Raises:
        AudioError: `AUDIO_UNSUPPORTED`, `AUDIO_UNDECODABLE`, `AUDIO_EMPTY` (also for a film without
            sound), `AUDIO_TOO_LONG`, `AUDIO_TOO_LARGE` or `AUDIO_IO`, as of `AudioLoader.read`; the
            message does not name the file.
        OSError: reading failed.
    """
    kind = _identify(fd)
    if kind is None:
        header = read_header(fd, supported=MEDIA)
        return decode_segment(fd, header, sample_rate=sample_rate, limits=limits)
    if _is_cut(fd, kind):
        raise damaged(kind.name, "it ends before its header says")
    return mixed(
        lambda downmix: decode_by_ffmpeg(fd, kind, downmix, sample_rate=sample_rate, limits=limits)
    )


# --- Containers ------------------------------------------------------------------------------

#: Types of the boxes that an MP4 or QuickTime file begins with (ISO 14496-12, 4.2).
_FIRST_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})
#: Boxes that must be whole; behind them there may be anything.
_NEEDED_BOXES = frozenset({b"moov", b"moof", b"mdat"})
_MAX_BOXES = 100_000
_EBML, _SEGMENT = b"\x1aE\xdf\xa3", b"\x18S\x80g"  # RFC 8794, RFC 9559


def _identify(fd: int) -> Kind | None:
    """The container by the first bytes of the file; None for one that libsndfile reads."""
    magic = os.pread(fd, 8, 0)
    if magic[4:8] in _FIRST_BOXES:
        return MP4
    if magic.startswith(_EBML):
        return MATROSKA
    frame = os.pread(fd, 2, skip_id3(fd))
    if len(frame) == 2 and frame[0] == 0xFF and frame[1] & 0xF6 == 0xF0:  # ADTS: layer 0
        return AAC
    return None


def _is_cut(fd: int, kind: Kind) -> bool:
    """Whether the file ends before its structure says, which FFmpeg does not report.

    Recordings of a browser state no length, so it cannot be seen where one of them is cut.
    """
    size = os.fstat(fd).st_size
    if kind is MP4:
        return _mp4_end(fd, size) > size
    if kind is MATROSKA:
        return _matroska_end(fd) > size
    return False


def _mp4_end(fd: int, size: int) -> int:
    """Offset of the end of the last box that must be complete."""
    position = end = 0
    for _ in range(_MAX_BOXES):
        head = os.pread(fd, 16, position)
        length, name = int.from_bytes(head[:4]), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16])
        if len(head) < 8 or length < 8:  # 0 is "to the end of the file"
            break
        position += length
        if name in _NEEDED_BOXES:
            end = position
        if position >= size:
            break
    return end


def _matroska_end(fd: int) -> int:
    """Offset of the end of the segment, which follows the EBML header; 0 where it is unstated."""
    position = 0
    for name in (_EBML, _SEGMENT):
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
