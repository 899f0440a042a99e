"""What happens to speech on the way to the recogniser: noise, telephone, room, clipping, speed.

Each effect takes float32 mono samples, and makes new ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.fft
import soxr
from librosa.effects import time_stretch
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, sosfilt

Samples = NDArray[np.float32]

#: Sample rate of the telephone network, in Hz (ITU-T G.711).
TELEPHONE_RATE = 8_000
#: Pass band of a telephone channel, in Hz (ITU-T G.712).
TELEPHONE_BAND = (300.0, 3400.0)
_MU = 255


def white(length: int, rng: Generator) -> Samples:
    """`length` samples of white noise."""
    return rng.standard_normal(length, dtype=np.float32)


def coloured(length: int, slope: float, rng: Generator, rate: int = 16_000) -> Samples:
    """Noise whose power falls as 1/f**slope: 1 is pink, 2 is brown; at `rate` Hz."""
    spectrum = np.fft.rfft(white(length, rng))
    # below 20 Hz nothing is heard, but there brown noise would have most of its power
    frequency = np.maximum(np.fft.rfftfreq(length, 1 / rate), 20)
    return np.fft.irfft(spectrum / frequency ** (slope / 2), length).astype(np.float32)


def add_noise(samples: Samples, noise: Samples, snr_db: float) -> Samples:
    """`samples` + `noise` scaled to a signal-to-noise ratio of mean powers."""
    power, noise_power = np.mean(samples**2), np.mean(noise**2) + 1e-12
    return samples + noise * np.sqrt(power / noise_power / 10 ** (snr_db / 10))


def telephone_band(samples: Samples) -> Samples:
    """`samples` at `TELEPHONE_RATE`, with only the band of a telephone left."""
    low, high = TELEPHONE_BAND
    band = butter(6, [low, high], "bandpass", fs=TELEPHONE_RATE, output="sos")
    filtered: Samples = sosfilt(band, samples)
    return filtered


def mu_law(samples: Samples) -> Samples:
    """`samples` coded with 8 bits of mu-law (continuous G.711 curve) and decoded again."""
    coded = np.sign(samples) * np.log1p(_MU * np.abs(np.clip(samples, -1, 1))) / np.log1p(_MU)
    coded = np.round(coded * 127) / 127
    return np.sign(coded) * np.expm1(np.abs(coded) * np.log1p(_MU)) / _MU


def by_telephone(samples: Samples, rate: int) -> Samples:
    """`samples` at `rate` Hz through a clean telephone line: 300-3400 Hz, mu-law; same rate."""
    line = soxr.resample(samples, rate, TELEPHONE_RATE)
    coded = mu_law(telephone_band(line)).astype(np.float32)
    heard: Samples = soxr.resample(coded, TELEPHONE_RATE, rate)
    return heard


def at_speed(samples: Samples, factor: float) -> Samples:
    """Played `factor` times as fast, which moves pitch and formants too (Ko et al., 2015)."""
    played: Samples = soxr.resample(samples, factor, 1.0, quality="LQ")
    return played


def clipped(samples: Samples, share: float) -> Samples:
    """With the loudest `share` (0 to 1) of the samples cut to the level of the others."""
    ceiling = np.quantile(np.abs(samples), 1 - share)
    return np.clip(samples, -ceiling, ceiling)


def stretched(samples: Samples, tempo: float) -> Samples:
    """Spoken `tempo` times as fast, the voice as it was (a phase vocoder)."""
    played: Samples = time_stretch(samples, rate=tempo, n_fft=512)
    return played


def equalised(samples: Samples, rate: int, db: float, rng: Generator) -> Samples:
    """As by another microphone: a random frequency response, of `db` dB standard deviation at nine
    points between 0 and 8 kHz, and now and then a muffled one, falling by 3-12 dB an octave."""
    points = np.array([0, 100, 250, 500, 900, 1500, 2300, 3200, 8000.0])
    gain = rng.normal(0, db, len(points))
    if rng.random() < 0.3:
        corner = rng.uniform(400, 1000)
        gain -= rng.uniform(3, 12) * np.maximum(0, np.log2((points + 1) / corner))
    level = gain[2:6].mean()
    return _filtered(samples, rate, lambda hertz: np.interp(hertz, points, gain - level))


def tilted(samples: Samples, rate: int, db: float) -> Samples:
    """With each octave `db` dB louder than the one below it; 1 kHz stays as it is."""
    return _filtered(samples, rate, lambda hertz: db * np.log2((hertz + 100) / 1_100))


def _filtered(
    samples: Samples, rate: int, gain_db: Callable[[NDArray[Any]], NDArray[Any]]
) -> Samples:
    """With each frequency louder by `gain_db` of it in Hz; no phase is moved."""
    length = scipy.fft.next_fast_len(len(samples), real=True)
    gain = 10 ** (gain_db(np.fft.rfftfreq(length, 1 / rate)) / 20)
    spectrum = scipy.fft.rfft(samples, length) * gain
    return scipy.fft.irfft(spectrum, length)[: len(samples)].astype(np.float32)


def companded(samples: Samples, exponent: float) -> Samples:
    """With what is quiet brought up: each sample to the power of `exponent` (0 to 1), peak kept."""
    peak = np.max(np.abs(samples)) + 1e-9
    return (peak * np.sign(samples) * np.abs(samples / peak) ** exponent).astype(np.float32)


def in_room(
    samples: Samples, rate: int, rt60: float, rng: Generator, direct_db: float = 0.0
) -> Samples:
    """As heard in a room, as loud as before.

    The room's response is the direct sound, and noise that decays by 60 dB in `rt60` seconds
    (Polack, 1988), with an energy of `direct_db` below that of the direct sound.
    """
    time = np.arange(int(rt60 * rate)) / rate
    tail = rng.standard_normal(len(time)) * np.exp(-np.log(1e3) * time / rt60)
    tail *= 10 ** (-direct_db / 20) / np.sqrt(np.sum(tail**2))
    heard = samples + fftconvolve(samples, tail)[: len(samples)]
    level = np.sqrt(np.mean(samples**2) / (np.mean(heard**2) + 1e-12))
    return (level * heard).astype(np.float32)
