"""Channels that cancel each other: one of them is taken, and said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from serve_app.audio import AudioLoader
from tests.serve_app.audio.media_files import encode
from tests.serve_app.audio.sounds import Samples, sweep, write


def noise(seconds: float, seed: int, level: float = 0.1, rate: int = 16_000) -> Samples:
    rng = np.random.default_rng(seed)
    return rng.normal(0, level, round(seconds * rate)).astype(np.float32)


def inverted(first: Samples) -> Samples:
    return np.stack([first, -first], axis=1)


@pytest.mark.parametrize("seconds", [1.0, 12.0])  # in one block and in several
@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG", "MP3"])
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_opposite_phase(
    loader: AudioLoader, root: Path, container: str, seconds: float, rate: int
) -> None:
    samples = sweep(seconds, rate)
    write(root / "clip", inverted(samples), rate, container)
    write(root / "mono", samples, rate, container)
    clip, channel, channels, similarity = loader.read("clip")
    assert (channel, channels) == (0, 2)
    assert similarity == pytest.approx(-1, abs=0.01)
    assert np.std(clip) == pytest.approx(np.std(loader.load("mono")), rel=0.1)
    assert clip.flags.c_contiguous


@pytest.mark.parametrize("codec", ["aac", "alac"])
def test_opposite_phase_through_ffmpeg(loader: AudioLoader, root: Path, codec: str) -> None:
    encode(root / "clip", inverted(sweep(3, 48_000)), "mp4", codec, layout="stereo")
    recording = loader.read("clip")
    assert recording.channel == 0
    assert np.std(recording.clip) == pytest.approx(np.std(sweep(3)), rel=0.05)


def test_opposite_phase_in_a_file_that_only_ffmpeg_reads(loader: AudioLoader, root: Path) -> None:
    data = write(root / "clip", inverted(sweep(2)), container="FLAC").read_bytes()
    (root / "joined").write_bytes(data + data)
    recording = loader.read("joined")
    clip = recording.clip
    assert (len(clip), recording.channel, recording.channels) == (64_000, 0, 2)
    assert np.std(clip) == pytest.approx(np.std(sweep(2)), rel=0.05)


def test_the_louder_channel_is_taken(loader: AudioLoader, root: Path) -> None:
    samples = np.stack([0.7 * sweep(3), -sweep(3)], axis=1)
    write(root / "clip", samples)
    clip, channel, *_ = loader.read("clip")
    assert channel == 1
    assert np.array_equal(clip, loader.load("clip"))
    assert np.abs(clip + sweep(3)).max() < 1e-3


def test_opposite_phase_in_noise_of_the_room(loader: AudioLoader, root: Path) -> None:
    apart = np.stack([noise(3, 1, 0.03), noise(3, 2, 0.03)], axis=1)
    write(root / "clip", inverted(sweep(3)) + apart)
    assert loader.read("clip").channel is not None


@pytest.mark.parametrize("level", [0.1, 0.25])  # `sweep` has 0.15
def test_two_of_three_channels_in_opposite_phase(
    loader: AudioLoader, root: Path, level: float
) -> None:
    """Their mean is the third one alone."""
    voice = sweep(3)
    write(root / "clip", np.stack([voice, -voice, noise(3, 1, level)], axis=1))
    recording = loader.read("clip")
    assert recording.channel is not None
    assert recording.measures["audio.channel"] == recording.channel


def test_one_of_two_voices_in_opposite_phase(loader: AudioLoader, root: Path) -> None:
    """A call whose far end is inverted: half of it would be lost."""
    near, far = sweep(3), inverted(sweep(3))
    write(root / "clip", np.concatenate([np.stack([near, near], axis=1), far]))
    assert loader.read("clip").channel is not None


@pytest.mark.parametrize(
    "channels",
    [
        pytest.param([sweep(3), sweep(3)], id="the same"),
        pytest.param([sweep(3), noise(3, 1)], id="two sources"),
        pytest.param([noise(3, 1), noise(3, 2)], id="independent"),
        pytest.param([sweep(3), np.zeros(48_000, np.float32)], id="one is silent"),
        pytest.param([np.zeros(48_000, np.float32)] * 2, id="silence"),
        pytest.param([sweep(3), np.roll(sweep(3), 8)], id="half a millisecond late"),
        pytest.param([noise(3, 1), noise(3, 2), noise(3, 3)], id="three sources"),
        pytest.param([sweep(3), np.roll(sweep(3), 8), noise(3, 3)], id="three, one of them late"),
        pytest.param([sweep(3), *[np.zeros(48_000, np.float32)] * 5], id="one of six"),
    ],
)
def test_other_channels_are_averaged(
    loader: AudioLoader, root: Path, channels: list[Samples]
) -> None:
    write(root / "clip", np.stack(channels, axis=1), codec="FLOAT")
    clip, channel, count, _ = loader.read("clip")
    assert (channel, count) == (None, len(channels))
    assert np.allclose(clip, np.mean(channels, axis=0), atol=1e-6)


def test_a_segment_is_judged_by_itself(loader: AudioLoader, root: Path) -> None:
    both = np.stack([sweep(3), sweep(3)], axis=1)
    write(root / "clip", np.concatenate([both, inverted(sweep(3))]))
    assert loader.read("clip", offset=0.5, duration=2).channel is None
    assert loader.read("clip", offset=3.5, duration=2).channel == 0
