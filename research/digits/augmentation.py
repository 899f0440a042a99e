"""Augment recordings: cut differently, as if by another microphone, with other pauses.

Five people at five microphones differ more in how they were recorded than a model can learn from
four of them. The augmentation of `chorus finetune` is added to this one; since it works on clips
with pauses around the word, it cannot cut the word itself.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from research.digits.pauses import prepare
from serve_app.audio import acoustics
from serve_app.audio.acoustics import Samples

#: Probability that an end is cut, most seconds that are cut off, and fewest seconds that are left.
_CUT_PART, _CUT_S, _LEAST_S = 0.4, 0.06, 0.15
#: Probabilities of companding, of clipping and of a spectral tilt; and how strong they are.
_COMPANDED_PART, _EXPONENT = 0.3, (0.5, 0.9)
_CLIPPED_PART, _CLIPPED = 0.1, (0.005, 0.05)
_TILTED_PART, _TILT_DB = 0.5, 6.0
_HIGH_PASS_HZ, _PAUSE_S, _UNDER_DB = (50, 250), (0.2, 0.6), (20, 50)
_OWN_NOISE_PART = 0.5
#: Duration of the frames in which loudness is measured, in seconds; and the range of the level, in
#: dB of the loudest frame, above which a frame belongs to the word.
_FRAME_S, _THRESHOLD_DB = 0.01, (-45, -22)


def augmented(samples: Samples, rate: int, rng: Generator, *, has_noise: bool = True) -> Samples:
    """Change a recording at random, and prepare it as `pauses.prepare` does.

    Args:
        samples: the recording.
        rate: its sample rate in hertz.
        rng: random generator.
        has_noise: whether the recording contains noise that its pauses can be filled with.
    """
    samples = _cut(samples, rate, rng)
    kind = rng.random()
    if kind < _COMPANDED_PART:
        samples = acoustics.companded(samples, rng.uniform(*_EXPONENT))
    elif kind < _COMPANDED_PART + _CLIPPED_PART:
        samples = acoustics.clipped(samples, rng.uniform(*_CLIPPED))
    if rng.random() < _TILTED_PART:
        samples = acoustics.tilted(samples, rate, rng.uniform(-_TILT_DB, _TILT_DB))
    before, after = rng.uniform(*_PAUSE_S, size=2)
    return prepare(
        samples,
        rate,
        rng,
        pauses_s=(before, after),
        own_noise=has_noise and rng.random() < _OWN_NOISE_PART,
        under_db=rng.uniform(*_UNDER_DB),
        high_pass_hz=rng.uniform(*_HIGH_PASS_HZ),
    )


def trimmed(samples: Samples, rate: int, rng: Generator) -> Samples:
    """Cut `samples` at `rate` Hz to the word in it, by a random threshold of loudness."""
    length = int(_FRAME_S * rate)
    frames = samples[: len(samples) // length * length].reshape(-1, length)
    power = np.mean(frames**2, axis=1)
    loud = np.flatnonzero(power > power.max() * 10 ** (rng.uniform(*_THRESHOLD_DB) / 10))
    return samples[loud[0] * length : (loud[-1] + 1) * length]


def _cut(samples: Samples, rate: int, rng: Generator) -> Samples:
    start, end = (
        int(rng.uniform(0, _CUT_S) * rate) if rng.random() < _CUT_PART else 0 for _ in range(2)
    )
    if len(samples) - start - end < _LEAST_S * rate:
        return samples
    return samples[start : len(samples) - end]
