"""What happens to speech on the way to the recogniser: the telephone, noise, levels.

Each effect takes float32 mono samples at 16 kHz and its own random generator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import soxr
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from deploy.demo.corpus.voices import SAMPLE_RATE

Samples = NDArray[np.float32]

#: Sample rate of the telephone network, in Hz (ITU-T G.711).
TELEPHONE_RATE = 8_000
#: Pass band of a telephone channel, in Hz (ITU-T G.712).
TELEPHONE_BAND = (300.0, 3400.0)
_MU = 255
_PACKET = TELEPHONE_RATE // 50  # 20 ms, the usual packet of telephony over IP


def telephone(samples: Samples, rng: Generator) -> Samples:
    """`samples` through a telephone line; the result is at `TELEPHONE_RATE`.

    Line noise at 18-30 dB, 300-3400 Hz, now and then a clipping amplifier, 8-bit mu-law, up to
    3% of the packets lost.
    """
    line = soxr.resample(samples, SAMPLE_RATE, TELEPHONE_RATE)
    line = add_noise(line, white(len(line), rng), rng.uniform(18, 30))
    low, high = TELEPHONE_BAND
    line = sosfilt(butter(6, [low, high], "bandpass", fs=TELEPHONE_RATE, output="sos"), line)
    line = at_level(line, rng)
    if rng.random() < 0.15:
        ceiling = np.quantile(np.abs(line), 0.99)
        line = np.clip(line, -ceiling, ceiling)
    line = mu_law(line)
    lost = rng.random(len(line) // _PACKET + 1) < rng.uniform(0, 0.03) * (rng.random() < 0.5)
    line[np.repeat(lost, _PACKET)[: len(line)]] = 0
    return line.astype(np.float32)


def mu_law(samples: Samples) -> Samples:
    """`samples` coded with 8 bits of mu-law (continuous G.711 curve) and decoded again."""
    coded = np.sign(samples) * np.log1p(_MU * np.abs(np.clip(samples, -1, 1))) / np.log1p(_MU)
    coded = np.round(coded * 127) / 127
    return np.sign(coded) * np.expm1(np.abs(coded) * np.log1p(_MU)) / _MU


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


def white(length: int, rng: Generator) -> Samples:
    """`length` samples of white noise."""
    return rng.standard_normal(length, dtype=np.float32)


def coloured(length: int, slope: float, rng: Generator) -> Samples:
    """Noise whose power falls as 1/f**slope: 1 is pink, 2 is brown."""
    spectrum = np.fft.rfft(white(length, rng))
    # below 20 Hz nothing is heard, but there brown noise would have most of its power
    frequency = np.maximum(np.fft.rfftfreq(length, 1 / SAMPLE_RATE), 20)
    return np.fft.irfft(spectrum / frequency ** (slope / 2), length).astype(np.float32)


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


def add_noise(samples: Samples, noise: Samples, snr_db: float) -> Samples:
    """`samples` + `noise` scaled to a signal-to-noise ratio of mean powers."""
    power, noise_power = np.mean(samples**2), np.mean(noise**2) + 1e-12
    return samples + noise * np.sqrt(power / noise_power / 10 ** (snr_db / 10))


def at_level(samples: Samples, rng: Generator) -> Samples:
    """`samples` scaled to a random peak of -14 to -1 dB of full scale."""
    peak = 10 ** (rng.uniform(-14, -1) / 20)
    return samples * (peak / (np.abs(samples).max() + 1e-9))
