"""Identifying a file by its first bytes: only allowed formats reach a decoder.

libsndfile reads some thirty containers and codecs, most of them rare, some with known memory
faults (IMA ADPCM: CVE-2026-37555). So the container and codec are looked up here, before
libsndfile opens the file, and checked again after it has opened it (`is_allowed`).

The header also says whether the file is whole, which libsndfile does not: it plays what is left of
a WAV or Ogg file, or the first of several joined files (`serve_app.audio.joined`), without a word.
Two cuts leave no trace: an Ogg file that ends exactly between two pages, and an MP3 that states no
length.
"""

from __future__ import annotations

import os

from schemas.failures import ErrorCode
from serve_app.audio.errors import AudioError
from serve_app.audio.header import SUPPORTED, Container, Header, undecodable, unsupported
from serve_app.audio.media import read_media
from serve_app.audio.mpeg import LAYER_2, LAYER_3, first_frames, is_mpeg, skip_id3, states_length
from serve_app.audio.ogg import read_ogg
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
    if is_mpeg(magic, LAYER_3):
        return Header(Container.MP3, length_known=states_length(magic))
    if is_mpeg(magic, LAYER_2):
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
        stated = states_length(os.pread(fd, 64, begin))
        return Header(Container.MP3, length_known=stated, begin=begin, irregular=True)
    raise undecodable(f"is not audio that Chorus reads; give {SUPPORTED}")


def is_allowed(container: str, codec: str) -> bool:
    """Whether libsndfile's format and subtype of an open file are on the allow-list."""
    return container in _FORMATS and codec in _SUBTYPES


#: Bytes ahead of the first frame of an MP3, at most.
_MAX_AHEAD = 256 << 10


def _first_mp3_frame(fd: int, start: int) -> int | None:
    """Where the first frame of an MP3 is that does not begin with one; None if there is none.

    It may be cut in front, or padded with zeros.
    """
    data = os.pread(fd, _MAX_AHEAD, start)
    at = first_frames(data)
    return None if at is None or not is_mpeg(data[at : at + 4], LAYER_3) else start + at
