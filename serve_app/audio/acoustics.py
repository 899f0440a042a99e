"""Acoustic effects on speech: noise, telephone, room, microphone, clipping, speed.

Each effect takes mono samples, float32 of shape [samples], and returns new ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy
import soxr
from numpy.random import Generator
from numpy.typing import NDArray

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
    """`length` samples of noise at `rate` Hz; its power falls as 1/f**slope: 1 is pink, 2 brown."""
    spectrum = np.fft.rfft(white(length, rng))
    # below 20 Hz nothing is heard, but there brown noise would have most of its power
    frequency = np.maximum(np.fft.rfftfreq(length, 1 / rate), 20)
    return np.fft.irfft(spectrum / frequency ** (slope / 2), length).astype(np.float32)


def add_noise(samples: Samples, noise: Samples, snr_db: float) -> Samples:
    """`samples` plus `noise`, scaled so that the ratio of their mean powers is `snr_db`."""
    power, noise_power = np.mean(samples**2), np.mean(noise**2) + 1e-12
    noisy: Samples = samples + noise * np.sqrt(power / noise_power / 10 ** (snr_db / 10))
    return noisy


def telephone_band(samples: Samples) -> Samples:
    """`samples`, at `TELEPHONE_RATE`, band-limited to `TELEPHONE_BAND`."""
    low, high = TELEPHONE_BAND
    band = scipy.signal.butter(6, [low, high], "bandpass", fs=TELEPHONE_RATE, output="sos")
    filtered: Samples = scipy.signal.sosfilt(band, samples)
    return filtered


def mu_law(samples: Samples) -> Samples:
    """`samples` coded with 8 bits of mu-law (continuous G.711 curve) and decoded again."""
    coded = np.sign(samples) * np.log1p(_MU * np.abs(np.clip(samples, -1, 1))) / np.log1p(_MU)
    coded = np.round(coded * 127) / 127
    decoded: Samples = np.sign(coded) * np.expm1(np.abs(coded) * np.log1p(_MU)) / _MU
    return decoded


def by_telephone(samples: Samples, rate: int) -> Samples:
    """`samples` at `rate` Hz through a clean telephone line: 300-3400 Hz, mu-law; same rate."""
    line = soxr.resample(samples, rate, TELEPHONE_RATE)
    coded = mu_law(telephone_band(line)).astype(np.float32)
    heard: Samples = soxr.resample(coded, TELEPHONE_RATE, rate)
    return heard


def at_speed(samples: Samples, factor: float) -> Samples:
    """`samples` played `factor` times as fast, so pitch and formants shift (Ko et al., 2015)."""
    played: Samples = soxr.resample(samples, factor, 1.0, quality="LQ")
    return played


def clipped(samples: Samples, share: float) -> Samples:
    """`samples` with the loudest `share` of them, 0 to 1, clipped to the level of the others."""
    ceiling = np.quantile(np.abs(samples), 1 - share)
    return np.clip(samples, -ceiling, ceiling)


def stretched(samples: Samples, tempo: float) -> Samples:
    """`samples` at `tempo` times the speed, with pitch unchanged (by a phase vocoder)."""
    from librosa.effects import time_stretch  # with scikit-learn: more than a second

    played: Samples = time_stretch(samples, rate=tempo, n_fft=512)
    return played


def equalised(samples: Samples, rate: int, db: float, rng: Generator) -> Samples:
    """`samples` as recorded by another microphone: with a random frequency response.

    Args:
        samples: mono audio.
        rate: of the samples, in hertz.
        db: standard deviation of the response in dB, at nine points between 0 and 8 kHz.
        rng: draws the response; 30% of them also fall by 3 to 12 dB an octave, as if muffled.
    """
    points = np.array([0, 100, 250, 500, 900, 1500, 2300, 3200, 8000.0])
    gain = rng.normal(0, db, len(points))
    if rng.random() < 0.3:
        corner = rng.uniform(400, 1000)
        gain -= rng.uniform(3, 12) * np.maximum(0, np.log2((points + 1) / corner))
    level = gain[2:6].mean()
    return _filtered(samples, rate, lambda hertz: np.interp(hertz, points, gain - level))


def tilted(samples: Samples, rate: int, db: float) -> Samples:
    """`samples` with each octave `db` dB louder than the one below; 1 kHz is unchanged."""
    return _filtered(samples, rate, lambda hertz: db * np.log2((hertz + 100) / 1_100))


def _filtered(
    samples: Samples, rate: int, gain_db: Callable[[NDArray[Any]], NDArray[Any]]
) -> Samples:
    """`samples` filtered by a gain in dB as a function of frequency in hertz; zero phase."""
    length = scipy.fft.next_fast_len(len(samples), real=True)
    gain = 10 ** (gain_db(np.fft.rfftfreq(length, 1 / rate)) / 20)
    spectrum = scipy.fft.rfft(samples, length) * gain
    filtered: Samples = scipy.fft.irfft(spectrum, length)[: len(samples)].astype(np.float32)
    return filtered


def companded(samples: Samples, exponent: float) -> Samples:
    """`samples` with less dynamic range: relative to the peak, raised to `exponent` (0 to 1)."""
    peak = np.max(np.abs(samples)) + 1e-9
    louder: Samples = peak * np.sign(samples) * np.abs(samples / peak) ** exponent
    return louder.astype(np.float32)


def in_room(
    samples: Samples, rate: int, rt60: float, rng: Generator, direct_db: float = 0.0
) -> Samples:
    """`samples` with the reverberation of a room, at the same mean power.

    The room's impulse response is the direct sound, and noise that decays exponentially (Polack,
    1988).

    Args:
        samples: mono audio.
        rate: of the samples, in hertz.
        rt60: reverberation time, in which the noise decays by 60 dB, in seconds.
        rng: draws the noise.
        direct_db: energy of the direct sound relative to that of the noise, in dB.
    """
    time = np.arange(int(rt60 * rate)) / rate
    tail = rng.standard_normal(len(time)) * np.exp(-np.log(1e3) * time / rt60)
    tail *= 10 ** (-direct_db / 20) / np.sqrt(np.sum(tail**2))
    heard = samples + scipy.signal.fftconvolve(samples, tail)[: len(samples)]
    level = np.sqrt(np.mean(samples**2) / (np.mean(heard**2) + 1e-12))
    leveled: Samples = level * heard
    return leveled.astype(np.float32)
