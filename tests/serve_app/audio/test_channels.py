"""One channel of a recording, its mean, and how much the channels are the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from schemas.channels import MEAN
from schemas.failures import ErrorCode
from serve_app.audio import AudioLoader
from tests.serve_app.audio.conftest import Refused
from tests.serve_app.audio.media_files import encode
from tests.serve_app.audio.sounds import Samples, sweep, write

SILENCE = np.zeros(48_000, np.float32)


def noise(seed: int, seconds: float = 3, rate: int = 16_000, level: float = 0.1) -> Samples:
    size = round(seconds * rate)
    return np.random.default_rng(seed).normal(0, level, size).astype(np.float32)


@pytest.mark.parametrize("seconds", [1, 12])  # in one block and in several
@pytest.mark.parametrize("rate", [16_000, 8_000])
def test_one_channel_is_as_in_a_file_of_its_own(
    loader: AudioLoader, root: Path, seconds: int, rate: int
) -> None:
    channels = [noise(seed, seconds, rate) for seed in range(3)]
    write(root / "all", np.stack(channels, axis=1), rate, codec="FLOAT")
    for number, samples in enumerate(channels):
        write(root / "alone", samples, rate, codec="FLOAT")
        recording = loader.read("all", channel=number)
        np.testing.assert_array_equal(recording.clip, loader.load("alone"))
        assert (recording.channel, recording.channels) == (number, 3)
        assert recording.measures["audio.channel"] == number


def test_a_segment_of_one_channel(loader: AudioLoader, root: Path) -> None:
    write(root / "clip", np.stack([noise(1), noise(2)], axis=1), codec="FLOAT")
    clip = loader.load("clip", offset=1, duration=0.5, channel=1)
    np.testing.assert_array_equal(clip, noise(2)[16_000:24_000])


@pytest.mark.parametrize(("container", "codec"), [("mp4", "alac"), ("webm", "libopus")])
def test_one_channel_of_what_only_ffmpeg_reads(
    loader: AudioLoader, root: Path, container: str, codec: str
) -> None:
    both = np.stack([sweep(3, 48_000), np.zeros(3 * 48_000, np.float32)], axis=1)
    encode(root / "clip", both, container, codec, layout="stereo")
    recording = loader.read("clip", channel=0)
    assert (recording.channel, recording.channels) == (0, 2)
    assert recording.similarity == pytest.approx(0, abs=0.01)
    assert np.std(recording.clip) == pytest.approx(np.std(sweep(3)), rel=0.05)
    assert np.std(loader.load("clip", channel=1)) < 1e-3


def test_the_mean_is_taken_even_where_the_channels_cancel(loader: AudioLoader, root: Path) -> None:
    write(root / "clip", np.stack([sweep(3), -sweep(3)], axis=1), codec="FLOAT")
    recording = loader.read("clip", channel=MEAN)
    assert not recording.clip.any()
    assert recording.channel is None
    assert "audio.channel" not in recording.measures


@pytest.mark.parametrize("rest", [1, 2])
def test_a_channel_that_is_not_there(
    refused: Refused, loader: AudioLoader, root: Path, rest: int
) -> None:
    write(root / "clip", sweep(1, channels=rest))
    error = refused(ErrorCode.AUDIO_CHANNEL, "clip", channel=rest)
    there = {1: "one channel, 0", 2: "the channels 0 to 1"}[rest]
    assert f"has {there}, and `channel` is {rest}" in str(error)
    assert len(loader.load("clip", channel=rest - 1)) == 16_000


def test_a_channel_that_is_not_there_in_a_film(refused: Refused, root: Path) -> None:
    encode(root / "clip", sweep(1, 48_000), "mp4", "aac")
    refused(ErrorCode.AUDIO_CHANNEL, "clip", channel=2)


@pytest.mark.parametrize(
    ("channels", "similarity"),
    [
        pytest.param([sweep(3), sweep(3)], 1.0, id="the same"),
        pytest.param([sweep(3)] * 5, 1.0, id="five times the same"),
        pytest.param([sweep(3), sweep(3) + noise(1, level=2e-3)], 0.9998, id="nearly the same"),
        pytest.param([sweep(3), np.float32(0.1) * sweep(3)], 1.0, id="another level"),
        pytest.param([sweep(3), -sweep(3)], -1.0, id="opposite"),
        pytest.param([noise(1), noise(2)], 0.0, id="nothing in common"),
        pytest.param([noise(1), noise(2), noise(2)], 0.333, id="two of three"),
        pytest.param([noise(1), SILENCE], 0.0, id="one is silent"),
        pytest.param([noise(1), noise(1, level=1e-9)], 0.0, id="one is nearly silent"),
        pytest.param([SILENCE, SILENCE], 1.0, id="silence"),
        pytest.param([SILENCE, sweep(3), sweep(3)], 1 / 3, id="one silent of three"),
        pytest.param([sweep(3), -sweep(3), SILENCE], -1 / 3, id="one silent beside opposites"),
        pytest.param([SILENCE, sweep(3), SILENCE, sweep(3)], 1 / 6, id="two silent of four"),
    ],
)
@pytest.mark.parametrize("channel", [None, 0])
def test_similarity(
    loader: AudioLoader,
    root: Path,
    channels: list[Samples],
    similarity: float,
    channel: int | None,
) -> None:
    write(root / "clip", np.stack(channels, axis=1), codec="FLOAT")
    found = loader.read("clip", channel=channel)
    assert found.similarity == pytest.approx(
        similarity, abs=0.02 if 0 <= similarity < 0.5 else 1e-4
    )
    assert found.all_equal is (abs(similarity) == 1.0)
    assert found.measures["audio.channels"] == len(channels)
    assert found.measures["audio.channel_similarity"] == found.similarity


def test_the_same_through_a_lossy_codec_and_nearly_the_same(
    loader: AudioLoader, root: Path
) -> None:
    write(root / "clip", sweep(3, 48_000, channels=2), 48_000, "MP3")
    assert loader.read("clip").all_equal
    write(root / "clip", np.stack([sweep(3), sweep(3) + noise(1, level=2e-3)], axis=1))
    assert not loader.read("clip").all_equal


def test_a_file_of_one_channel_has_no_similarity(loader: AudioLoader, root: Path) -> None:
    write(root / "clip", sweep(1))
    assert loader.read("clip", channel=0).measures == {"audio.channels": 1, "audio.channel": 0}
    assert loader.read("clip").measures == {"audio.channels": 1}
