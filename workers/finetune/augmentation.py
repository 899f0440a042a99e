"""Random changes to a training clip, different each time it is used."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.fft import next_fast_len

from serve_app.audio import acoustics
from workers.finetune.recipe import Augmentation

#: Noise is added at a signal-to-noise ratio of at most this many dB: hardly to be heard.
_HIGHEST_SNR = 55.0
#: Seconds in which a room's sound decays by 60 dB, and how far it is below the direct sound, in dB.
_RT60, _DIRECT_DB = (0.08, 0.5), (0.0, 12.0)
#: Exponents of the spectrum of coloured noise: 0 is white, 1 pink, 2 brown.
_SLOPES = (0.0, 0.0, 0.5, 1.0, 2.0)


def augment(
    samples: NDArray[np.float32], sample_rate: int, rng: Generator, how: Augmentation
) -> NDArray[np.float32]:
    """A clip with random changes.

    Args:
        samples: shape [samples].
        sample_rate: in hertz.
        rng: decides everything that is random.
        how: what may be changed; the changes are made in the order of its fields.

    Returns:
        The changed clip, which may be longer or shorter; shape [samples].
    """
    if how.speed:
        samples = acoustics.at_speed(samples, rng.uniform(1 - how.speed, 1 + how.speed))
    if how.tempo:
        samples = acoustics.stretched(samples, rng.uniform(1 - how.tempo, 1 + how.tempo))
    if how.rooms and rng.random() < how.rooms:
        rt60, below = rng.uniform(*_RT60), rng.uniform(*_DIRECT_DB)
        samples = acoustics.in_room(samples, sample_rate, rt60, rng, below)
    if how.equaliser:
        samples = acoustics.equalised(samples, sample_rate, how.equaliser, rng)
    ends = rng.integers(0, max(1, int(how.silence * sample_rate)), size=2)
    padded = np.pad(samples, ends)
    if how.noise < 1 and rng.random() >= how.noise:
        return padded
    snr = rng.uniform(how.lowest_snr, _HIGHEST_SNR)
    level = np.float32(np.sqrt(np.mean(samples**2)) * 10 ** (-snr / 20))
    return padded + level * _noise(len(padded), sample_rate, rng, how.coloured)


def _noise(length: int, rate: int, rng: Generator, coloured: bool) -> NDArray[np.float32]:
    """Noise of unit power, shape [length], at `rate` Hz."""
    slope = rng.choice(_SLOPES) if coloured else 0.0
    if not slope:
        return acoustics.white(length, rng)
    whole = next_fast_len(length, real=True)
    noise = acoustics.coloured(whole, slope, rng, rate)[:length]
    return noise / np.float32(np.sqrt(np.mean(noise**2)))
