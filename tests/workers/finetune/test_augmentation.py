from __future__ import annotations

import numpy as np
from numpy.random import default_rng

from workers.finetune.augmentation import Augmentation
from workers.speech import SAMPLE_RATE

SPEECH = default_rng(1).standard_normal(SAMPLE_RATE).astype(np.float32)


def test_a_clip_depends_on_its_seed_only() -> None:
    change = Augmentation()
    first, again, other = (change(SPEECH, SAMPLE_RATE, default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first[: len(SPEECH)], other[: len(SPEECH)])
    assert first.dtype == np.float32
    assert len(SPEECH) <= len(first) <= len(SPEECH) + 2 * SAMPLE_RATE // 5


def test_speed_makes_a_clip_longer_or_shorter() -> None:
    change = Augmentation(speed=0.2, silence=0.0)
    lengths = [len(change(SPEECH, SAMPLE_RATE, default_rng(seed))) for seed in range(40)]
    assert min(lengths) < SAMPLE_RATE < max(lengths)
    assert all(len(SPEECH) / 1.21 <= each <= len(SPEECH) / 0.79 for each in lengths)


def test_only_a_part_of_the_clips_gets_noise() -> None:
    change = Augmentation(silence=0.0, noise=0.5)
    clean = [np.array_equal(change(SPEECH, SAMPLE_RATE, default_rng(s)), SPEECH) for s in range(60)]
    assert 15 < sum(clean) < 45


def test_noise_is_no_louder_than_asked_for() -> None:
    change = Augmentation(silence=0.0, lowest_snr=10.0)
    for seed in range(40):
        noise = change(SPEECH, SAMPLE_RATE, default_rng(seed)) - SPEECH
        snr = 10 * np.log10(np.mean(SPEECH**2) / np.mean(noise**2))
        assert 9.9 <= snr <= 55.1
