"""What the header of a file says, and the formats that are read."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from schemas.failures import ErrorCode
from serve_app.audio.errors import AudioError


class Container(StrEnum):
    """Container formats that are recognised by their first bytes."""

    WAV = "WAV"
    FLAC = "FLAC"
    MP3 = "MP3"
    OGG = "Ogg"
    MP4 = "MP4"
    WEBM = "WebM or Matroska"
    AAC = "AAC"


class Format(NamedTuple):
    """A container with what may be in it, as people call them.

    Attributes:
        names: of the container.
        codecs: of the audio in it.
    """

    names: tuple[str, ...]
    codecs: tuple[str, ...]


#: All that is read, in manifests and uploads alike; the table is in docs/manifests.md.
FORMATS: Mapping[Container, Format] = {
    Container.WAV: Format(("WAV",), ("PCM", "float", "A-law", "mu-law")),
    Container.FLAC: Format(("FLAC",), ("FLAC",)),
    Container.MP3: Format(("MP3",), ("MP3",)),
    Container.OGG: Format(("Ogg",), ("Vorbis", "Opus")),
    Container.MP4: Format(("M4A", "MP4", "MOV"), ("AAC", "ALAC", "FLAC", "MP3", "Opus", "PCM")),
    Container.WEBM: Format(("WebM", "Matroska"), ("Opus", "Vorbis", "AAC", "FLAC", "MP3", "PCM")),
    Container.AAC: Format(("AAC",), ("AAC",)),
}
#: Those that libsndfile knows nothing of.
MEDIA = frozenset({Container.MP4, Container.WEBM, Container.AAC})

_NAMES = [name for each in FORMATS.values() for name in each.names]
#: The formats, in a sentence.
SUPPORTED = f"{', '.join(_NAMES[:-1])} or {_NAMES[-1]}"
#: What to do with a file of another format or codec.
CONVERT = "convert it to FLAC or PCM WAV"


class Pcm16(NamedTuple):
    """Where the 16-bit samples of a WAV file are.

    Attributes:
        start: of the first one, in bytes.
        frames: how many there are, all of them in the file.
        channels: samples of a frame.
        rate: frames a second.
    """

    start: int
    frames: int
    channels: int
    rate: int


class Header(NamedTuple):
    """What the header of a file says.

    Attributes:
        container: its format.
        cut: the file ends before its header, or its last page, says.
        length_known: it states its length. An MP3 may not: then libsndfile's is a guess.
        begin: where the audio begins, in bytes, if libsndfile does not find it.
        irregular: libsndfile would read none of it, or not all, and FFmpeg does.
        pcm: where the samples are, of a whole WAV file with 16-bit ones.
    """

    container: Container
    cut: bool = False
    length_known: bool = True
    begin: int = 0
    irregular: bool = False
    pcm: Pcm16 | None = None


def undecodable(reason: str) -> AudioError:
    """The error of a file that is no audio, or has a broken header."""
    return AudioError(ErrorCode.AUDIO_UNDECODABLE, reason)


def unsupported(reason: str) -> AudioError:
    """The error of audio in a format or codec that is not read; it is told what to do."""
    return AudioError(ErrorCode.AUDIO_UNSUPPORTED, f"{reason}; {CONVERT}")
