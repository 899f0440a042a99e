"""How the corpus' speech is recorded: by telephone, in noise, at levels of all kinds.

Each effect takes float32 mono samples at 16 kHz and its own random generator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import soxr
from numpy.random import Generator

from deploy.demo.corpus.voices import SAMPLE_RATE
from workers.acoustics import (
    TELEPHONE_RATE,
    Samples,
    add_noise,
    coloured,
    mu_law,
    telephone_band,
    white,
)

_PACKET = TELEPHONE_RATE // 50  # 20 ms, the usual packet of telephony over IP


def telephone(samples: Samples, rng: Generator) -> Samples:
    """`samples` through a telephone line; the result is at `TELEPHONE_RATE`.

    Line noise at 18-30 dB, 300-3400 Hz, now and then a clipping amplifier, 8-bit mu-law, up to
    3% of the packets lost.
    """
    line = soxr.resample(samples, SAMPLE_RATE, TELEPHONE_RATE)
    line = add_noise(line, white(len(line), rng), rng.uniform(18, 30))
    line = at_level(telephone_band(line), rng)
    if rng.random() < 0.15:
        ceiling = np.quantile(np.abs(line), 0.99)
        line = np.clip(line, -ceiling, ceiling)
    line = mu_law(line)
    lost = rng.random(len(line) // _PACKET + 1) < rng.uniform(0, 0.03) * (rng.random() < 0.5)
    line[np.repeat(lost, _PACKET)[: len(line)]] = 0
    return line.astype(np.float32)


def noisy(samples: Samples, others: Sequence[Samples], rng: Generator) -> Samples:
    """`samples` with one kind of noise at 0-15 dB.

    Args:
        others: at least one other utterance, for babble.
    """
    kinds: list[Callable[[], Samples]] = [
        lambda: white(len(samples), rng),
        lambda: coloured(len(samples), 1, rng),
        lambda: coloured(len(samples), 2, rng),
        lambda: hum(len(samples), rng),
        lambda: babble(len(samples), others, rng),
    ]
    return add_noise(samples, kinds[rng.integers(len(kinds))](), rng.uniform(0, 15))


def hum(length: int, rng: Generator) -> Samples:
    """Mains hum of 50 or 60 Hz with harmonics, over a little white noise."""
    base = rng.choice([50, 60])
    time = np.arange(length) / SAMPLE_RATE
    waves = sum(
        rng.random() / k * np.sin(2 * np.pi * base * k * time + rng.uniform(0, 2 * np.pi))
        for k in range(1, 13)
    )
    return (waves + 0.05 * white(length, rng)).astype(np.float32)


def babble(length: int, others: Sequence[Samples], rng: Generator) -> Samples:
    """Three to six of `others` at once, each repeated to fill `length`."""
    voices = rng.integers(len(others), size=rng.integers(3, 7))
    return np.sum(
        [np.roll(np.resize(others[v], length), rng.integers(length)) for v in voices], axis=0
    )


def at_level(samples: Samples, rng: Generator) -> Samples:
    """`samples` scaled to a random peak of -14 to -1 dB of full scale."""
    peak = 10 ** (rng.uniform(-14, -1) / 20)
    return samples * (peak / (np.abs(samples).max() + 1e-9))
