"""A recording another way each time: cut elsewhere, by another microphone, in other pauses.

Five people at five microphones differ more in how they were recorded than a model can guess from
four of them. What `chorus finetune` draws for each clip comes on top; with a pause around a word,
it cannot cut it any more.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from deploy.digits.pauses import prepare
from workers import acoustics
from workers.acoustics import Samples

#: Seconds cut off an end of a part of the recordings, and the least that is left of one.
_CUT_PART, _CUT_S, _LEAST_S = 0.4, 0.06, 0.15
#: Parts of the recordings whose loudness was evened out, that were clipped, or that sound brighter
#: or duller; and by how much.
_COMPANDED_PART, _EXPONENT = 0.3, (0.5, 0.9)
_CLIPPED_PART, _CLIPPED = 0.1, (0.005, 0.05)
_TILTED_PART, _TILT_DB = 0.5, 6.0
_HIGH_PASS_HZ, _PAUSE_S, _UNDER_DB = (50, 250), (0.2, 0.6), (20, 50)
_OWN_NOISE_PART = 0.5
#: Frames in which loudness is measured, in seconds; a frame belongs to a word that is above one of
#: these levels, in dB of the loudest.
_FRAME_S, _THRESHOLD_DB = 0.01, (-45, -22)


def retaken(samples: Samples, rate: int, rng: Generator, *, has_noise: bool = True) -> Samples:
    """`samples` at `rate` Hz another way, as `prepare` returns them.

    Args:
        has_noise: whether the recording has noise of its own, for its pauses.
    """
    samples = _cut(samples, rate, rng)
    how = rng.random()
    if how < _COMPANDED_PART:
        samples = acoustics.companded(samples, rng.uniform(*_EXPONENT))
    elif how < _COMPANDED_PART + _CLIPPED_PART:
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
    """The word in `samples` without what is around it, cut as tightly as chance has it."""
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
