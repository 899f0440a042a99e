"""What is read without libsndfile is what libsndfile reads."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from schemas.failures import ErrorCode
from serve_app.audio import AudioLoader, opus
from serve_app.audio.clip import Clip
from serve_app.audio.opus import OpusStream, UnusualError
from tests.serve_app.audio.conftest import Refused
from tests.serve_app.audio.sounds import sweep

#: Two versions of libopus differ by rounding errors.
ROUNDING = 1e-6


def noisy(seconds: float, rate: int, channels: int = 1) -> Clip:
    """A sweep in noise: every band has something to decode."""
    clip = sweep(seconds, rate, channels)
    return clip + np.random.default_rng(1).normal(0, 0.05, clip.shape).astype(np.float32)


def write_opus(path: Path, clip: Clip, rate: int, level: float = 0.9) -> None:
    soundfile.write(path, clip, rate, "OPUS", format="OGG", compression_level=level)


def opened(path: Path, sample_rate: int = 16_000) -> OpusStream:
    fd = os.open(path, os.O_RDONLY)
    try:
        return OpusStream(fd, sample_rate)
    finally:
        os.close(fd)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("level", [0.0, 0.7, 0.95])  # of large packets and of small ones
@pytest.mark.parametrize(("rate", "seconds"), [(8_000, 2.5), (16_000, 0.5), (16_000, 7.3)])
def test_opus_is_what_libsndfile_makes_of_it(
    tmp_path: Path, rate: int, seconds: float, level: float, channels: int
) -> None:
    path = tmp_path / "clip"
    write_opus(path, noisy(seconds, rate, channels), rate, level)
    stream, (expected, _) = opened(path), soundfile.read(path, dtype="float32")
    assert (stream.samplerate, stream.frames, stream.channels) == (rate, len(expected), channels)
    found = stream.read(len(expected) + 1)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < ROUNDING


@pytest.mark.parametrize("start", [0, 1, 40_000, 90_001, 111_000])
def test_opus_is_found_where_libsndfile_finds_it(tmp_path: Path, start: int) -> None:
    path = tmp_path / "clip"
    write_opus(path, noisy(7, 16_000), 16_000)
    whole, _ = soundfile.read(path, dtype="float32")
    stream = opened(path)
    stream.seek(max(start - 16_000, 0))
    stream.read(min(start, 16_000))
    assert np.abs(stream.read(1_000) - whole[start : start + 1_000]).max() < 2e-3


@pytest.mark.parametrize(("level", "tolerance_db"), [(0.3, 0.01), (0.95, 0.5)])
def test_opus_of_48_khz_is_decoded_to_the_rate_that_is_wanted(
    loader: AudioLoader, root: Path, level: float, tolerance_db: float
) -> None:
    """It is what resampling makes of it, in each band.

    The decoder of speech (SILK, of the smaller file) is half a sample earlier without a resampler
    of its own, so there the samples are not compared.
    """
    write_opus(root / "clip", noisy(3, 48_000), 48_000, level)
    whole, rate = soundfile.read(root / "clip", dtype="float32")
    assert (rate, opened(root / "clip").samplerate) == (48_000, 16_000)
    expected = soxr.resample(whole, rate, 16_000, quality="HQ")
    found = loader.load("clip")
    assert len(found) == len(expected)
    bands = [
        np.log10(np.square(np.abs(np.fft.rfft(each[:48_000]))[:21_000]).reshape(42, -1).sum(1))
        for each in (found, expected)
    ]
    assert 10 * np.abs(bands[0] - bands[1]).max() < tolerance_db
    if level < 0.9:
        below = [soxr.resample(each, 16_000, 14_000, quality="HQ") for each in (found, expected)]
        assert np.sum((below[0] - below[1]) ** 2) < 1e-5 * np.sum(below[1] ** 2)


def damaged(data: bytes) -> bytes:
    """`data` with another byte in the last page but one: its checksum is wrong."""
    at = data.rfind(b"OggS", 0, data.rfind(b"OggS")) + 400
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_a_page_with_a_wrong_checksum_is_left_to_libsndfile(
    loader: AudioLoader, refused: Refused, root: Path
) -> None:
    write_opus(root / "whole", noisy(5, 16_000), 16_000)
    (root / "clip").write_bytes(damaged((root / "whole").read_bytes()))
    stream = opened(root / "clip")
    with pytest.raises(UnusualError):
        stream.read(stream.frames)
    refused(ErrorCode.AUDIO_UNDECODABLE, "clip")
    expected = loader.load("whole", duration=2.0)
    assert np.array_equal(loader.load("clip", duration=2.0), expected)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "clip"
    write_opus(path, noisy(2, 16_000), 16_000)
    return path.read_bytes()


def without_second_page(data: bytes) -> bytes:
    second = data.find(b"OggS", 1)
    return data[:second] + data[data.find(b"OggS", second + 1) :]


UNUSUAL: dict[str, Callable[[bytes], bytes]] = {
    "another behind it": lambda data: data + data,
    "bytes behind it": lambda data: data + b"rubbish rubbish rubbish rubbish",
    "a page that is missing": without_second_page,
    "another version": lambda data: data.replace(b"OpusHead\x01", b"OpusHead\x02"),
    "no audio": lambda data: data[: data.find(b"OggS", 1)],
}


@pytest.mark.parametrize("change", UNUSUAL.values(), ids=UNUSUAL)
def test_what_is_out_of_the_ordinary_is_left_to_libsndfile(
    tmp_path: Path, whole: bytes, change: Callable[[bytes], bytes]
) -> None:
    (tmp_path / "clip").write_bytes(change(whole))
    with pytest.raises(UnusualError):
        opened(tmp_path / "clip")


def test_more_than_two_channels_are_left_to_libsndfile(tmp_path: Path) -> None:
    write_opus(tmp_path / "clip", noisy(2, 16_000, channels=3), 16_000)
    with pytest.raises(UnusualError):
        opened(tmp_path / "clip")


def test_without_the_library_libsndfile_decodes_opus(
    loader: AudioLoader, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_opus(root / "clip", noisy(2, 16_000), 16_000)
    found = loader.load("clip", offset=0.5)
    monkeypatch.setattr(opus, "library", lambda: None)
    assert np.abs(loader.load("clip", offset=0.5) - found).max() < ROUNDING


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_the_samples_of_a_wav_file(loader: AudioLoader, root: Path, channels: int) -> None:
    soundfile.write(root / "clip", noisy(6, 16_000, channels), 16_000, "PCM_16", format="WAV")
    expected = soundfile.read(root / "clip", dtype="float32", always_2d=True)[0]
    for channel in range(channels):
        assert np.array_equal(loader.load("clip", channel=channel), expected[:, channel])
        some = loader.load("clip", channel=channel, offset=1.25, duration=0.5)
        assert np.array_equal(some, expected[20_000:28_000, channel])
