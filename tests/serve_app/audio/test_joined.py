"""Files of different formats that were joined: refused, and none of them lost without a word."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from schemas.failures import ErrorCode
from schemas.settings import AudioSettings
from serve_app.audio import AudioLoader
from tests.serve_app.audio.conftest import Refused
from tests.serve_app.audio.media_files import encode
from tests.serve_app.audio.sounds import Samples, chunk, pcm_16, sweep, wav, without_xing, write

SPEECH = sweep(2.0)
#: By what messages call them.
BY_LIBSNDFILE = {"WAV": ("WAV", "PCM_16"), "FLAC": ("FLAC", None), "MP3": ("MP3", None)}
BY_FFMPEG = {"AAC": ("adts", "aac"), "MP4": ("mp4", "aac"), "WebM or Matroska": ("webm", "libopus")}
FIRST = ["WAV", "FLAC", "MP3", "MP3 without length", "Vorbis", "Opus", "MP4", "WebM or Matroska"]
SECOND = ["WAV", "FLAC", "MP3", "Ogg", "AAC", "MP4", "WebM or Matroska"]
#: Of two files of one format, FFmpeg reads both (test_irregular.py), but not of two MP4 files.
ALIKE = {"Vorbis": "Ogg", "Opus": "Ogg", "MP3 without length": "MP3", "MP4": ""}
PAIRS = [
    (first, second) for first in FIRST for second in SECOND if ALIKE.get(first, first) != second
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A file of each kind."""
    path = tmp_path_factory.mktemp("files") / "file"
    found = {
        name: write(path, SPEECH, container=container, codec=codec).read_bytes()
        for name, (container, codec) in BY_LIBSNDFILE.items()
    }
    for codec in ("Vorbis", "Opus"):
        found[codec] = write(path, SPEECH, container="OGG", codec=codec.upper()).read_bytes()
    found["Ogg"] = found["Opus"]
    found["MP3 without length"] = without_xing(found["MP3"])
    for name, (container, codec) in BY_FFMPEG.items():
        rate = 48_000 if codec == "libopus" else 16_000
        found[name] = encode(path, sweep(2.0, rate), container, codec, rate=rate).read_bytes()
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("joined")


@pytest.fixture(scope="module")
def shared(folder: Path) -> AudioLoader:
    """One loader for all pairs: each has decoder processes of its own."""
    return AudioLoader(AudioSettings(roots=[str(folder)]))


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_another_format_behind_the_first_is_refused(
    refused: Refused,
    folder: Path,
    shared: AudioLoader,
    files: dict[str, bytes],
    first: str,
    second: str,
) -> None:
    (folder / "joined").write_bytes(files[first] + files[second])
    if first.startswith("MP3") and second == "AAC":  # their frames are alike
        refused(ErrorCode.AUDIO_UNDECODABLE, "joined", by=shared)
        return
    error = refused(ErrorCode.AUDIO_UNSUPPORTED, "joined", by=shared)
    where = f"up to byte {len(files[first])}, where another file begins ({second})"
    assert where in error.message


def test_segments_of_the_first_are_read(
    loader: AudioLoader, root: Path, files: dict[str, bytes]
) -> None:
    (root / "joined").write_bytes(files["Opus"] + files["MP3"])
    assert len(loader.load("joined", offset=0.5, duration=1.0)) == 16_000


def test_a_large_file_behind_the_first(
    refused: Refused, root: Path, files: dict[str, bytes]
) -> None:
    """It is larger than what is read to find the last page of an Ogg file."""
    large = write(root / "large", sweep(25), container="MP3").read_bytes()
    assert len(large) > 65_536
    (root / "joined").write_bytes(files["Opus"] + large)
    error = refused(ErrorCode.AUDIO_UNSUPPORTED, "joined")
    assert f"byte {len(files['Opus'])}, where another file begins (MP3)" in error.message


ID3V1 = b"TAG" + bytes(125)
APE_ITEM = b"\x05\0\0\0" + bytes(4) + b"Artist\0hello"
APE = (
    b"APETAGEX\xd0\x07\0\0"
    + (len(APE_ITEM) + 32).to_bytes(4, "little")
    + b"\x01\0\0\0\0\0\0\xa0"
    + bytes(8)
    + APE_ITEM
    + b"APETAGEX\xd0\x07\0\0"
    + (len(APE_ITEM) + 32).to_bytes(4, "little")
    + b"\x01\0\0\0\0\0\0\x80"
    + bytes(8)
)


@pytest.mark.parametrize("tags", [ID3V1, APE, APE + ID3V1], ids=["ID3v1", "APE", "both"])
class TestTagsOfAnMp3:
    def test_at_its_end_are_no_file(
        self, loader: AudioLoader, root: Path, files: dict[str, bytes], tags: bytes
    ) -> None:
        (root / "tagged").write_bytes(files["MP3"] + tags)
        (root / "bare").write_bytes(files["MP3"])
        assert np.array_equal(loader.load("tagged"), loader.load("bare"))

    def test_do_not_hide_the_next_one(
        self, loader: AudioLoader, root: Path, files: dict[str, bytes], tags: bytes
    ) -> None:
        (root / "joined").write_bytes(2 * (files["MP3"] + tags))
        assert len(loader.load("joined")) / 16_000 == pytest.approx(4.0, abs=0.2)


def test_an_mp3_that_states_no_length_behind_one_that_does(
    loader: AudioLoader, root: Path, files: dict[str, bytes]
) -> None:
    (root / "joined").write_bytes(files["MP3"] + files["MP3 without length"])
    assert len(loader.load("joined")) / 16_000 == pytest.approx(4.0, abs=0.2)


@pytest.mark.parametrize("size", [20, 40_000])
def test_chunks_behind_the_samples_of_a_wav_file(
    loader: AudioLoader, root: Path, size: int
) -> None:
    samples: Samples = SPEECH
    whole = wav(pcm_16(samples))
    (root / "wav").write_bytes(whole + chunk(b"LIST", bytes(size)) + chunk(b"id3 ", bytes(10)))
    assert len(loader.load("wav")) == len(samples)


def test_metadata_that_quote_another_format(
    loader: AudioLoader, root: Path, files: dict[str, bytes]
) -> None:
    """`flac --keep-foreign-metadata` keeps the header of the WAV file that it encoded."""
    flac = files["FLAC"]
    quoted = b"riff" + b"RIFF\x24\x08\0\0WAVEfmt "
    block = b"\x02" + len(quoted).to_bytes(3) + quoted
    behind_streaminfo = 4 + 4 + 34
    (root / "flac").write_bytes(flac[:behind_streaminfo] + block + flac[behind_streaminfo:])
    (root / "bare").write_bytes(flac)
    assert np.array_equal(loader.load("flac"), loader.load("bare"))


def test_web_recordings_one_after_another(
    loader: AudioLoader, root: Path, files: dict[str, bytes]
) -> None:
    (root / "joined").write_bytes(2 * files["WebM or Matroska"])
    assert len(loader.load("joined")) / 16_000 == pytest.approx(4.0, abs=0.1)


def test_the_second_file_is_found_wherever_it_begins(
    refused: Refused, root: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large files are searched part by part."""
    monkeypatch.setattr("serve_app.audio.windows._SIZE", 80_000)
    long = write(root / "long", sweep(30), container="FLAC").read_bytes()
    begun = len(long)
    assert begun > 160_000
    for second in ("WAV", "MP3"):
        (root / "joined").write_bytes(long + files[second] * 8)
        error = refused(ErrorCode.AUDIO_UNSUPPORTED, "joined")
        assert f"up to byte {begun}, where another file begins ({second})" in error.message
