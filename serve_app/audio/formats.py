"""Identifying a file by its first bytes: only allowed formats reach a decoder.

libsndfile reads some thirty containers and codecs, most of them rare, some with known memory
faults (IMA ADPCM: CVE-2026-37555). So the container and codec are looked up here, before
libsndfile opens the file, and checked again after it has opened it (`is_allowed`).

The header also says whether the file is whole, which libsndfile does not: it plays what is left of
a WAV or Ogg file, or the first of several joined files (`goes_on`), without a word. Two cuts leave
no trace: an Ogg file that ends exactly between two pages, and an MP3 that states no length.
"""

from __future__ import annotations

import mmap
import os
import re

from schemas.failures import ErrorCode
from serve_app.audio.errors import AudioError
from serve_app.audio.header import SUPPORTED, Container, Header, undecodable, unsupported
from serve_app.audio.media import read_media
from serve_app.audio.ogg import OGG_BEGINNING, read_ogg
from serve_app.audio.wav import read_wav

# libsndfile's names.
_FORMATS = frozenset({"WAV", "WAVEX", "RF64", "FLAC", "MP3", "OGG"})
_SUBTYPES = frozenset(
    {
        *("PCM_U8", "PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"),
        *("VORBIS", "OPUS", "MPEG_LAYER_III"),
    }
)

#: Signatures of formats that are not supported, for a better message: (position, bytes, name).
_OTHERS = (
    (0, b"FORM", "AIFF"),
    (0, b".snd", "AU"),
    (0, b"caff", "CAF"),
    (0, b"riff", "Wave64"),
    (0, b"RIFX", "big-endian WAV"),
    (0, b"NIST_1A", "NIST SPHERE"),
    (0, b"#!AMR", "AMR"),
    (0, b"0&\xb2u", "WMA"),
    (0, b"\x0bw", "AC-3"),
    (8, b"AVI ", "AVI"),
    (0, b"FLV\x01", "FLV"),
    (0, b".RMF", "RealAudio"),
    (0, b"\x00\x00\x01\xba", "an MPEG program stream"),
)


def read_header(fd: int) -> Header:
    """Identify the file open at `fd` by its content; its position stays where it is.

    Args:
        fd: descriptor of a regular file.

    Raises:
        AudioError: `AUDIO_EMPTY` (no bytes), `AUDIO_UNSUPPORTED` (audio of another format or
            codec), `AUDIO_UNDECODABLE` (no audio, or a broken header).
        OSError: reading failed.
    """
    start = skip_id3(fd)
    magic = os.pread(fd, 64, start)
    if not magic:
        if start:
            raise undecodable("holds an ID3 tag and nothing else")
        raise AudioError(ErrorCode.AUDIO_EMPTY, "is an empty file (0 bytes)")
    if magic.startswith(b"fLaC"):
        return Header(Container.FLAC)
    if _is_mpeg(magic, _LAYER_3):
        return Header(Container.MP3, length_known=_states_length(magic))
    if _is_mpeg(magic, _LAYER_2):
        raise unsupported("is MPEG audio of layer II")
    if start == 0 and magic[:4] in (b"RIFF", b"RF64") and magic[8:12] == b"WAVE":
        return read_wav(fd)
    if start == 0 and magic.startswith(b"OggS"):
        return read_ogg(fd, magic)
    if (media := read_media(fd, magic, start)) is not None:
        return media
    for position, signature, name in _OTHERS:
        if magic.startswith(signature, position):
            raise unsupported(f"is {name}")
    if (begin := _first_mp3_frame(fd, start)) is not None:
        stated = _states_length(os.pread(fd, 64, begin))
        return Header(Container.MP3, length_known=stated, begin=begin, irregular=True)
    raise undecodable(f"is not audio that Chorus reads; give {SUPPORTED}")


def is_allowed(container: str, codec: str) -> bool:
    """Whether libsndfile's format and subtype of an open file are on the allow-list."""
    return container in _FORMATS and codec in _SUBTYPES


#: What a FLAC or Ogg stream begins with (RFC 9639, 8.2).
_BEGINNINGS = {
    Container.FLAC: re.compile(rb"fLaC[\x00\x80]\x00\x00\x22"),
    Container.OGG: OGG_BEGINNING,
}


def goes_on(fd: int, header: Header) -> bool:
    """Whether there is more audio behind what libsndfile, which just read it, takes for the end.

    That is another file that was appended, or frames of an MP3 beyond a length that was estimated.
    """
    if header.container is Container.MP3:
        return _mp3_continues(fd, header)
    beginning = _BEGINNINGS.get(header.container)
    if beginning is None:
        return False
    with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as data:
        first = beginning.search(data)
        return first is not None and beginning.search(data, first.end()) is not None


# --- MP3 -------------------------------------------------------------------------------------


_LAYER_2, _LAYER_3 = 0x04, 0x02
#: Kilobits a second of layer III by the index in the header: of MPEG 1, and of MPEG 2 and 2.5.
_KILOBITS = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
}
#: Sample rates of MPEG 1 by the index in the header; MPEG 2 has halves, 2.5 quarters.
_MP3_RATES = (44_100, 48_000, 32_000, 1)
#: Bytes ahead of the first frame of an MP3, at most, and frames that show that it is one.
_MAX_AHEAD = 256 << 10
_FRAMES = 5


def _mp3_continues(fd: int, header: Header) -> bool:
    """Whether frames, or another file, follow where the decoder of `fd` has stopped."""
    head = os.pread(fd, 64, skip_id3(fd, os.lseek(fd, 0, os.SEEK_CUR)))
    return _is_mpeg(head, _LAYER_3) and (not header.length_known or _states_length(head))


def _first_mp3_frame(fd: int, start: int) -> int | None:
    """Where the first frame of an MP3 is that does not begin with one; None if there is none.

    It may be cut in front, or padded with zeros. The mark of a frame has only 11 bits, so as many
    as `_FRAMES` must follow each other, at the distances that their headers say, with the same
    version, layer and sample rate.
    """
    data = os.pread(fd, _MAX_AHEAD, start)
    at = data.find(0xFF)
    while at >= 0:
        if _has_frames(data, at):
            return start + at
        at = data.find(0xFF, at + 1)
    return None


def _has_frames(data: bytes, at: int) -> bool:
    kind = data[at : at + 3]
    for _ in range(_FRAMES):
        head = data[at : at + 4]
        if not _is_mpeg(head, _LAYER_3) or head[1] != kind[1] or (head[2] ^ kind[2]) & 0x0C:
            return False
        length = _frame_length(head)
        if length is None:
            return False
        at += length
    return True


def _frame_length(head: bytes) -> int | None:
    """Bytes of the layer III frame with this header (ISO 11172-3, 2.4.3.1); None if it is free."""
    version_1 = head[1] & 0x08 != 0
    kilobits = _KILOBITS[version_1][head[2] >> 4]
    rate = _MP3_RATES[head[2] >> 2 & 3] >> (0 if version_1 else 1 if head[1] & 0x10 else 2)
    if not kilobits:
        return None
    return (144_000 if version_1 else 72_000) * kilobits // rate + (head[2] >> 1 & 1)


def skip_id3(fd: int, position: int = 0) -> int:
    """Where the audio starts behind ID3v2 tags (https://id3.org/id3v2.4.0-structure, 3.1)."""
    for _ in range(4):
        tag = os.pread(fd, 10, position)
        if len(tag) < 10 or not tag.startswith(b"ID3"):
            break
        size = tag[6] << 21 | tag[7] << 14 | tag[8] << 7 | tag[9]  # 7 bits a byte
        position += 10 + size
    return position


def _is_mpeg(head: bytes, layer: int) -> bool:
    """Whether `head` begins with the header of an MPEG audio frame (ISO 11172-3, 2.4.1.3).

    It has 11 bits of sync, then a valid version, layer, bit rate and sample rate.
    """
    return (
        len(head) >= 4
        and head[0] == 0xFF
        and head[1] & 0xE0 == 0xE0
        and head[1] & 0x18 != 0x08  # version 01 is reserved
        and head[1] & 0x06 == layer
        and head[2] & 0xF0 != 0xF0
        and head[2] & 0x0C != 0x0C
    )


def _states_length(head: bytes) -> bool:
    """Whether the first frame is not audio but a header in which the encoder states the length."""
    return any(tag in head for tag in (b"Xing", b"Info", b"VBRI"))
