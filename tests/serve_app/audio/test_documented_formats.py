"""The table of formats in the documentation is what is read, in manifests and uploads alike."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy.local import ROOT
from schemas.settings import AudioSettings
from serve_app.audio import AudioLoader
from serve_app.audio.header import FORMATS, SUPPORTED, Container
from tests.serve_app.audio.media_files import encode
from tests.serve_app.audio.sounds import sweep, write

#: FFmpeg's muxer for each format, and its encoder for each codec.
MUXERS = {
    "WAV": "wav",
    "FLAC": "flac",
    "MP3": "mp3",
    "Ogg": "ogg",
    "AAC": "adts",
    "M4A": "ipod",
    "MP4": "mp4",
    "MOV": "mov",
    "WebM": "webm",
    "Matroska": "matroska",
}
ENCODERS = {
    "PCM": "pcm_s16le",
    "float": "pcm_f32le",
    "A-law": "pcm_alaw",
    "mu-law": "pcm_mulaw",
    "FLAC": "flac",
    "MP3": "libmp3lame",
    "Opus": "libopus",
    "AAC": "aac",
    "ALAC": "alac",
}
#: What a container may hold by its own rules, but not under each of its names.
NEVER = {
    *(("M4A", codec) for codec in ("FLAC", "MP3", "Opus", "PCM")),
    *(("MP4", "PCM"), ("MOV", "FLAC"), ("MOV", "Opus")),
    *(("WebM", codec) for codec in ("AAC", "FLAC", "MP3", "PCM")),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("formats")


@pytest.fixture(scope="module")
def shared(folder: Path) -> AudioLoader:
    return AudioLoader(AudioSettings(roots=[str(folder)], threads=1))


def table() -> dict[tuple[str, ...], tuple[str, ...]]:
    """The codecs by the names of their container, as the page has them."""
    page = (ROOT / "docs" / "manifests.md").read_text()
    section = page.partition("| format |")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|", section, re.M)
    return {tuple(names.split(", ")): tuple(codecs.split(", ")) for names, codecs in rows}


def test_the_table_is_complete() -> None:
    assert table() == dict(FORMATS.values())
    assert set(FORMATS) == set(Container)


def test_messages_name_all_formats() -> None:
    names = [name for each in FORMATS.values() for name in each.names]
    assert re.findall(r"\w+", SUPPORTED.replace(" or ", " ")) == names


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        (name, codec)
        for each in FORMATS.values()
        for name in each.names
        for codec in each.codecs
        if (name, codec) not in NEVER
    ],
)
def test_each_is_read(shared: AudioLoader, folder: Path, name: str, codec: str) -> None:
    path = folder / f"{name}-{codec}"
    if codec == "Vorbis":  # FFmpeg's own encoder wants stereo, and is not for Ogg
        samples = sweep(1, 48_000, channels=2)
        if name == "Ogg":
            write(path, samples, 48_000, "OGG", "VORBIS")
        else:
            encode(path, samples, MUXERS[name], "vorbis", layout="stereo")
    else:
        encode(path, sweep(1, 48_000), MUXERS[name], ENCODERS[codec])
    assert len(shared.load(path.name)) / 16_000 == pytest.approx(1, abs=0.1)
