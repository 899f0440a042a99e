"""The right samples, at the right rate, and never more of them than allowed."""

from __future__ import annotations

import itertools
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from schemas.failures import ErrorCode
from schemas.settings import AudioSettings
from serve_app.audio import AudioLoader
from tests.serve_app.audio.conftest import Refused
from tests.serve_app.audio.sounds import (
    Samples,
    pcm_16,
    sweep,
    wav,
    without_length,
    without_xing,
    write,
)

# --- segments --------------------------------------------------------------------------------

Coding = tuple[str, str, dict[str, Any]]

LOSSLESS: list[Coding] = [("WAV", "PCM_16", {}), ("WAV", "ULAW", {}), ("FLAC", "PCM_16", {})]
#: In a lossy codec what follows a seek depends a little on what came before it.
LOSSY: list[Coding] = [
    ("OGG", "VORBIS", {}),
    ("OGG", "OPUS", {}),
    ("MP3", "MPEG_LAYER_III", {"bitrate_mode": "CONSTANT", "compression_level": 0.5}),
    ("MP3", "MPEG_LAYER_III", {"bitrate_mode": "VARIABLE", "compression_level": 0.5}),
]


@pytest.mark.parametrize(("container", "codec", "options"), [*LOSSLESS, *LOSSY])
@pytest.mark.parametrize("seconds", [3.5, 30.5])
def test_a_segment_is_that_part_of_the_whole(
    loader: AudioLoader,
    root: Path,
    container: str,
    codec: str,
    options: dict[str, Any],
    seconds: float,
) -> None:
    write(root / "clip", sweep(seconds), container=container, codec=codec, **options)
    whole = loader.load("clip")
    assert len(whole) == seconds * 16_000
    tolerance = 0 if (container, codec, options) in LOSSLESS else 2e-3
    random = np.random.default_rng(1)
    anywhere = random.uniform(0, seconds - 0.1, 12)
    near_the_end = random.uniform(seconds - 0.5, seconds - 0.1, 12)
    for start in (*anywhere, *near_the_end):
        segment = loader.load("clip", offset=start, duration=0.1)
        first = round(start * 16_000)
        expected = whole[first : first + len(segment)]
        assert len(segment) == pytest.approx(1_600, abs=1)
        assert np.abs(segment - expected).max() <= tolerance


def test_adjacent_segments_make_up_the_whole(loader: AudioLoader, root: Path) -> None:
    write(root / "clip", sweep(10), container="FLAC")
    edges = [0.0, 0.33333, 1.1, 2.00003, 7.77777, 10.0]
    parts = [
        loader.load("clip", offset=start, duration=end - start)
        for start, end in itertools.pairwise(edges)
    ]
    assert np.array_equal(np.concatenate(parts), loader.load("clip"))


def test_a_segment_of_a_resampled_file(loader: AudioLoader, root: Path) -> None:
    write(root / "clip", sweep(10, 8_000), 8_000)
    segment = loader.load("clip", offset=4.0, duration=2.0)
    inner = slice(1_600, -1_600)  # at its edges a resampler knows nothing of the neighbours
    assert np.abs(segment[inner] - loader.load("clip")[64_000:96_000][inner]).max() < 1e-4


def test_a_duration_may_be_rounded_but_not_wrong(
    loader: AudioLoader, refused: Refused, root: Path
) -> None:
    write(root / "clip", sweep(4))
    assert len(loader.load("clip", duration=4.15)) == 64_000  # by 3.6 %
    assert len(loader.load("clip", offset=3.5, duration=0.6)) == 8_000  # by 0.1 s
    for offset, duration in ((0, 4.5), (3, 1.2), (3.9, 1)):
        error = refused(ErrorCode.AUDIO_UNDECODABLE, "clip", offset=offset, duration=duration)
        assert f"`duration` is {duration:g}" in error.message


def test_nothing_there(refused: Refused, root: Path) -> None:
    for container, codec in (("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "OPUS"), ("MP3", None)):
        write(root / "clip", sweep(2, 8_000), 8_000, container, codec)
        assert "`offset`" in refused(ErrorCode.AUDIO_EMPTY, "clip", offset=2.5).message
        refused(ErrorCode.AUDIO_EMPTY, "clip", offset=86_400, duration=1)
        refused(ErrorCode.AUDIO_EMPTY, "clip", offset=1.0, duration=0.005)
    write(root / "short", sweep(0.009))
    refused(ErrorCode.AUDIO_EMPTY, "short")


def test_ten_milliseconds_are_enough(loader: AudioLoader, root: Path) -> None:
    write(root / "clip", sweep(0.01))
    assert len(loader.load("clip")) == 160


# --- samples ---------------------------------------------------------------------------------


def signal_to_error(clip: Samples, hertz: float, rate: int) -> float:
    """Decibels of the sine of `hertz` in the middle of `clip` over all else there."""
    middle = clip[len(clip) // 4 : -len(clip) // 4].astype(np.float64)
    angle = 2 * np.pi * hertz * np.arange(len(middle)) / rate
    basis = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    sine = basis @ np.linalg.lstsq(basis, middle, rcond=None)[0]
    return float(10 * np.log10(np.sum(sine**2) / np.sum((middle - sine) ** 2)))


@pytest.mark.parametrize("seconds", [1.0, 12.0])  # in one block and in several
@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_resampling_keeps_a_sine_clean(
    loader: AudioLoader, root: Path, rate: int, seconds: float
) -> None:
    time = np.arange(round(rate * seconds)) / rate
    write(
        root / "clip",
        (0.5 * np.sin(2 * np.pi * 1_000 * time)).astype(np.float32),
        rate,
        "WAV",
        "FLOAT",
    )
    clip = loader.load("clip")
    assert len(clip) == 16_000 * seconds
    assert signal_to_error(clip, 1_000, 16_000) > 95
    assert np.abs(clip).max() == pytest.approx(0.5, rel=0.02)


def test_resampling_lets_no_alias_through(loader: AudioLoader, root: Path) -> None:
    time = np.arange(48_000) / 48_000
    tone = (0.5 * np.sin(2 * np.pi * 10_000 * time)).astype(np.float32)
    write(root / "clip", tone, 48_000, codec="FLOAT")
    middle = loader.load("clip")[2_000:-2_000]
    assert 20 * np.log10(np.abs(middle).max() / 0.5) < -95


def test_the_rate_of_the_result_is_a_choice(loader: AudioLoader, root: Path) -> None:
    write(root / "clip", sweep(1, 44_100), 44_100)
    assert len(loader.load("clip", sample_rate=8_000)) == 8_000
    assert len(loader.load("clip", sample_rate=44_100)) == 44_100


@pytest.mark.parametrize("channels", [2, 3, 8])
@pytest.mark.parametrize("seconds", [1, 6])
def test_channels_are_averaged(
    loader: AudioLoader, root: Path, channels: int, seconds: int
) -> None:
    samples = np.random.default_rng(2).uniform(-0.9, 0.9, (seconds * 16_000, channels))
    write(root / "clip", samples.astype(np.float32), codec="FLOAT")
    assert np.abs(loader.load("clip") - samples.mean(axis=1)).max() < 1e-6


def test_silence_is_audio(loader: AudioLoader, root: Path) -> None:
    write(root / "clip", np.zeros(16_000, np.float32))
    assert not loader.load("clip").any()


@pytest.mark.parametrize("rate", [8_000, 16_000])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("codec", ["FLOAT", "DOUBLE"])
def test_samples_that_are_no_numbers(
    refused: Refused, root: Path, value: float, codec: str, rate: int
) -> None:
    samples = sweep(1, rate)
    samples[1_234] = value
    write(root / "clip", samples, rate, codec=codec)
    assert "NaN" in refused(ErrorCode.AUDIO_UNDECODABLE, "clip").message


def test_opposite_infinities_do_not_cancel(refused: Refused, root: Path) -> None:
    samples = sweep(1, channels=2)
    samples[1_234] = np.inf, -np.inf
    write(root / "clip", samples, codec="FLOAT")
    refused(ErrorCode.AUDIO_UNDECODABLE, "clip")


def test_loud_floats_are_clipped_but_another_scale_is_refused(
    loader: AudioLoader, refused: Refused, root: Path
) -> None:
    samples = sweep(1) * 10
    write(root / "loud", samples, codec="FLOAT")
    assert np.array_equal(loader.load("loud"), np.clip(samples, -1, 1))
    write(root / "scaled", samples * 3_000, codec="FLOAT")
    assert "full scale" in refused(ErrorCode.AUDIO_UNSUPPORTED, "scaled").message


# --- limits ----------------------------------------------------------------------------------


def test_channels_and_sample_rates_beyond_the_limits(refused: Refused, root: Path) -> None:
    data = pcm_16(sweep(1))
    formats: dict[str, dict[str, Any]] = {
        "9 channels": {"channels": 9},
        "64 channels": {"channels": 64},
        "3999 Hz": {"rate": 3_999},
        "192001 Hz": {"rate": 192_001},
        "768000 Hz": {"rate": 768_000},
    }
    for name, options in formats.items():
        (root / "clip").write_bytes(wav(data, **options))
        assert name in refused(ErrorCode.AUDIO_UNSUPPORTED, "clip").message


KINDS = [("WAV", "PCM_U8"), ("FLAC", "PCM_16"), ("OGG", "OPUS"), ("OGG", "VORBIS"), ("MP3", None)]


@pytest.mark.parametrize(("container", "codec"), KINDS)
def test_too_long(refused: Refused, root: Path, container: str, codec: str | None) -> None:
    write(root / "clip", np.zeros(8_000 * 61, np.float32), 8_000, container, codec)
    assert "`audio.max_seconds` is 60" in refused(ErrorCode.AUDIO_TOO_LONG, "clip").message


def test_only_the_segment_counts(loader: AudioLoader, refused: Refused, root: Path) -> None:
    write(root / "clip", sweep(70, 8_000), 8_000)
    refused(ErrorCode.AUDIO_TOO_LONG, "clip", duration=60.5)
    assert len(loader.load("clip", offset=69.0, duration=1.0)) == 16_000
    assert len(loader.load("clip", duration=60.0)) == 960_000


def test_a_file_that_does_not_say_how_long_it_is_stops_at_the_limit(
    refused: Refused, root: Path
) -> None:
    minute = np.zeros(60 * 8_000, np.float32)
    write(root / "clip", np.concatenate([minute] * 60), 8_000, "FLAC")
    (root / "clip").write_bytes(without_length((root / "clip").read_bytes()))
    few = AudioLoader(AudioSettings(roots=[str(root)], max_seconds=2))
    tracemalloc.start()
    refused(ErrorCode.AUDIO_TOO_LONG, "clip", by=few)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000  # an hour would be 115 MB at 8 kHz


def test_an_offset_past_the_end_of_a_file_that_does_not_say_how_long_it_is(
    refused: Refused, root: Path
) -> None:
    write(root / "clip", sweep(1, 8_000), 8_000, "FLAC")
    (root / "clip").write_bytes(without_length((root / "clip").read_bytes()))
    message = refused(ErrorCode.AUDIO_EMPTY, "clip", offset=2.5).message
    assert message == "clip: ends before `offset` (2.5)"


def test_a_bomb_takes_the_memory_of_the_segment_only(loader: AudioLoader, root: Path) -> None:
    """Ten minutes of stereo silence at 48 kHz: a small file, 230 MB of samples."""
    minute = np.zeros((60 * 48_000, 2), np.float32)
    with soundfile.SoundFile(root / "clip", "w", 48_000, 2, "PCM_16", format="FLAC") as flac:
        for _ in range(10):
            flac.write(minute)
    assert (root / "clip").stat().st_size < 1_000_000
    tracemalloc.start()
    clip = loader.load("clip", offset=500, duration=30)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(clip) == 480_000
    assert peak < clip.nbytes + 4_000_000


# --- MP3 files that do not state their length --------------------------------------------------


def loud_then_quiet(seconds: float, *, first: float) -> Samples:
    noise = np.random.default_rng(4).normal(0, 0.2, round(seconds * 16_000)).astype(np.float32)
    noise[round(first * 16_000) :] *= 1e-4
    return noise


def test_an_mp3_of_variable_bit_rate_needs_no_length(loader: AudioLoader, root: Path) -> None:
    """Libsndfile guesses the length from the first frames, here three times too short."""
    options: dict[str, Any] = {"bitrate_mode": "VARIABLE", "compression_level": 0.5}
    write(root / "clip.mp3", loud_then_quiet(12, first=2), 16_000, "MP3", **options)
    assert len(loader.load("clip.mp3")) == 12 * 16_000
    (root / "bare.mp3").write_bytes(without_xing((root / "clip.mp3").read_bytes()))
    assert len(loader.load("bare.mp3")) == pytest.approx(12 * 16_000, abs=2_000)
    assert len(loader.load("bare.mp3", offset=11.0, duration=1.0)) == 16_000
    assert len(loader.load("bare.mp3", offset=0.5, duration=1.0)) == 16_000


def test_an_mp3_that_is_shorter_than_guessed_is_read_to_its_end(
    loader: AudioLoader, root: Path
) -> None:
    options: dict[str, Any] = {"bitrate_mode": "VARIABLE", "compression_level": 0.5}
    write(root / "clip.mp3", loud_then_quiet(12, first=2)[::-1], 16_000, "MP3", **options)
    (root / "bare.mp3").write_bytes(without_xing((root / "clip.mp3").read_bytes()))
    assert len(loader.load("bare.mp3")) == pytest.approx(12 * 16_000, abs=2_000)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("seconds", [0.5, 1.37, 5.0])
def test_an_mp3_of_constant_bit_rate_needs_no_length(
    loader: AudioLoader, root: Path, rate: int, seconds: float
) -> None:
    options: dict[str, Any] = {"bitrate_mode": "CONSTANT", "compression_level": 0.5}
    write(root / "clip.mp3", sweep(seconds, rate), rate, "MP3", **options)
    (root / "bare.mp3").write_bytes(without_xing((root / "clip.mp3").read_bytes()))
    assert len(loader.load("bare.mp3")) / 16_000 == pytest.approx(seconds, abs=0.3)
