from __future__ import annotations

import numpy as np
import pytest
import soxr

from deploy.demo import SPEECH
from research.corpus import channel
from serve_app.audio import acoustics
from serve_app.audio.measures import bandwidth_hz, clipping, level_dbfs, measure, snr_db
from serve_app.audio.voice_activity import speech_probabilities, speech_share
from workers.manifests.speech import check_manifest, read_audio

RATE = 16_000


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    utterances, _ = check_manifest(SPEECH / "general.jsonl", 60)
    return [read_audio(each) for each in utterances]


@pytest.mark.parametrize("snr", [5, 10, 20, 30])
def test_the_ratio_of_speech_to_known_noise(clips: list[np.ndarray], snr: float) -> None:
    rng = np.random.default_rng(1)
    noises = [acoustics.white(len(clip), rng) for clip in clips]
    noisy = [acoustics.add_noise(c, n, snr) for c, n in zip(clips, noises, strict=True)]
    found = [snr_db(clip, RATE) for clip in noisy]
    assert np.median(found) == pytest.approx(snr, abs=1.5)


def test_the_band_of_a_telephone_is_found_at_any_rate(clips: list[np.ndarray]) -> None:
    rng = np.random.default_rng(1)
    calls = [soxr.resample(channel.telephone(clip, rng), 8_000, RATE) for clip in clips]
    assert max(bandwidth_hz(call, RATE) for call in calls) < 4_000
    assert min(bandwidth_hz(clip, RATE) for clip in clips) > 5_000


@pytest.mark.parametrize("samples", [0, 10, 16_000])
def test_silence_has_measures_too(samples: int) -> None:
    found = measure(np.zeros(samples, np.float32), RATE)
    assert found["audio.bandwidth_hz"] == 0
    assert found["audio.snr_db"] <= 0


def test_level_and_clipping() -> None:
    sine = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE).astype(np.float32)
    assert level_dbfs(sine) == pytest.approx(-3.01, abs=0.01)
    assert level_dbfs(sine / np.float32(10)) == pytest.approx(-23.01, abs=0.01)
    assert clipping(sine / np.float32(2)) == 0
    loud = np.clip(sine * 2, -1, 1)
    assert clipping(loud) == pytest.approx(2 / 3, abs=0.01)


@pytest.mark.slow
def test_the_share_of_speech(clips: list[np.ndarray]) -> None:
    shares = [speech_share(clip, RATE) for clip in clips]
    assert np.median(shares) > 0.7
    halves = [speech_share(np.concatenate([clip, 0 * clip]), RATE) for clip in clips]
    assert halves == pytest.approx([share / 2 for share in shares], abs=0.1)
    assert speech_share(np.zeros(0, np.float32), RATE) == 0
    noise = acoustics.white(10 * RATE, np.random.default_rng(0)).astype(np.float32)
    assert speech_share(0.1 * noise, RATE) < 0.05
    assert speech_share(soxr.resample(clips[0], RATE, 8_000), 8_000) == pytest.approx(
        shares[0], abs=0.1
    )


@pytest.mark.slow
def test_speech_is_where_silero_finds_it(clips: list[np.ndarray]) -> None:
    from silero_vad import load_silero_vad

    long = np.concatenate(clips)[: 100 * RATE]  # more than one call
    for clip in (clips[0], long):
        theirs = load_silero_vad(sequence=True).audio_forward(clip)
        np.testing.assert_allclose(speech_probabilities(clip), theirs, atol=1e-4)
