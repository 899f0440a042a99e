from __future__ import annotations

import numpy as np
import pytest
from numpy.random import default_rng

from serve_app.audio.clip import SAMPLE_RATE
from workers.finetune.augmentation import augment
from workers.finetune.recipe import Augmentation

SPEECH = default_rng(1).standard_normal(SAMPLE_RATE).astype(np.float32)


def test_a_clip_depends_on_its_seed_only() -> None:
    change = Augmentation()
    first, again, other = (
        augment(SPEECH, SAMPLE_RATE, default_rng(seed), change) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first[: len(SPEECH)], other[: len(SPEECH)])
    assert first.dtype == np.float32
    assert len(SPEECH) <= len(first) <= len(SPEECH) + 2 * SAMPLE_RATE // 5


def test_speed_makes_a_clip_longer_or_shorter() -> None:
    change = Augmentation(speed=0.2, silence=0.0)
    lengths = [len(augment(SPEECH, SAMPLE_RATE, default_rng(seed), change)) for seed in range(40)]
    assert min(lengths) < SAMPLE_RATE < max(lengths)
    assert all(len(SPEECH) / 1.21 <= each <= len(SPEECH) / 0.79 for each in lengths)


def test_only_a_part_of_the_clips_gets_noise() -> None:
    change = Augmentation(silence=0.0, noise=0.5)
    clean = [
        np.array_equal(augment(SPEECH, SAMPLE_RATE, default_rng(s), change), SPEECH)
        for s in range(60)
    ]
    assert 15 < sum(clean) < 45


def test_noise_is_no_louder_than_asked_for() -> None:
    change = Augmentation(silence=0.0, lowest_snr=10.0)
    for seed in range(40):
        noise = augment(SPEECH, SAMPLE_RATE, default_rng(seed), change) - SPEECH
        snr = 10 * np.log10(np.mean(SPEECH**2) / np.mean(noise**2))
        assert 9.9 <= snr <= 55.1


@pytest.mark.slow
def test_tempo_changes_the_length_and_keeps_the_pitch() -> None:
    time = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    tone = np.sin(2 * np.pi * 440 * time).astype(np.float32)
    change = Augmentation(tempo=0.3, silence=0.0, lowest_snr=54.0)
    heard = [augment(tone, SAMPLE_RATE, default_rng(seed), change) for seed in range(8)]
    assert max(len(each) for each in heard) > 1.1 * min(len(each) for each in heard)
    for each in heard:
        strongest = np.argmax(np.abs(np.fft.rfft(each))) * SAMPLE_RATE / len(each)
        assert abs(strongest - 440) < 5


def test_another_microphone_each_time_colours_the_clip() -> None:
    change = Augmentation(equaliser=6.0, silence=0.0, noise=0.0)
    spectra = [
        np.abs(np.fft.rfft(augment(SPEECH, SAMPLE_RATE, default_rng(seed), change)))
        for seed in range(20)
    ]
    low, high = (np.array([s[a:b].mean() for s in spectra]) for a, b in ((200, 400), (3000, 6000)))
    ratio_db = 20 * np.log10(high / low)
    assert ratio_db.std() > 4
    plain = augment(SPEECH, SAMPLE_RATE, default_rng(1), Augmentation(silence=0.0, noise=0.0))
    assert np.array_equal(plain, SPEECH)


def test_a_part_of_the_clips_is_heard_in_a_room() -> None:
    change = Augmentation(rooms=0.5, silence=0.0, noise=0.0)
    dry = [
        np.array_equal(augment(SPEECH, SAMPLE_RATE, default_rng(s), change), SPEECH)
        for s in range(60)
    ]
    assert 15 < sum(dry) < 45


def test_coloured_noise_is_as_loud_as_white() -> None:
    change = Augmentation(silence=0.0, lowest_snr=20.0, coloured=True)
    for seed in range(20):
        noise = augment(SPEECH, SAMPLE_RATE, default_rng(seed), change) - SPEECH
        snr = 10 * np.log10(np.mean(SPEECH**2) / np.mean(noise**2))
        assert 19.9 <= snr <= 55.1
