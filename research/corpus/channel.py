"""Simulated recording conditions of the corpus: telephone, noise, level.

Each effect takes float32 mono samples at 16 kHz and its own random generator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import soxr
from numpy.random import Generator

from research.corpus.voices import SAMPLE_RATE
from serve_app.audio.acoustics import (
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
    """Simulate a telephone line; the result is at `TELEPHONE_RATE`.

    Line noise at 18-30 dB, 300-3400 Hz, sometimes a clipping amplifier, 8-bit mu-law, up to 3% of
    the packets lost.
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
    received: Samples = line.astype(np.float32)
    return received


def noisy(samples: Samples, others: Sequence[Samples], rng: Generator) -> Samples:
    """Add one kind of noise at 0-15 dB.

    Args:
        samples: the speech.
        others: at least one other utterance, for babble.
        rng: random generator.
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
    """Generate mains hum of 50 or 60 Hz with harmonics, and a little white noise."""
    base = rng.choice([50, 60])
    time = np.arange(length) / SAMPLE_RATE
    waves = sum(
        rng.random() / k * np.sin(2 * np.pi * base * k * time + rng.uniform(0, 2 * np.pi))
        for k in range(1, 13)
    )
    mixed: Samples = (waves + 0.05 * white(length, rng)).astype(np.float32)
    return mixed


def babble(length: int, others: Sequence[Samples], rng: Generator) -> Samples:
    """Mix three to six of `others`, each repeated to fill `length` samples."""
    voices = rng.integers(len(others), size=rng.integers(3, 7))
    mixed: Samples = np.sum(
        [np.roll(np.resize(others[v], length), rng.integers(length)) for v in voices], axis=0
    )
    return mixed


def at_level(samples: Samples, rng: Generator) -> Samples:
    """Scale `samples` to a random peak of -14 to -1 dB of full scale."""
    peak = 10 ** (rng.uniform(-14, -1) / 20)
    scaled: Samples = samples * (peak / (np.abs(samples).max() + 1e-9))
    return scaled
