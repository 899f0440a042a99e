"""Prepare recordings for a recogniser that expects pauses around speech.

The recordings are cut so tightly that a word may last only four frames of the model, and digital
silence next to a noisy recording sounds like a consonant. So each gets a pause at either end,
filled with noise like its own, and frequencies below speech are filtered out. Labels are not used.
"""

from __future__ import annotations

import numpy as np
import soxr
from numpy.random import Generator
from scipy.signal import butter, sosfiltfilt

from serve_app.audio.acoustics import Samples, white
from serve_app.audio.clip import SAMPLE_RATE

#: Duration of the pause at either end, in seconds.
_PAUSE_S = 0.5
#: Level of the speech, in dB of full scale; the speakers' levels differ by 17 dB before.
_LEVEL_DB = -26.0
#: Level of white noise added everywhere, in dB below the speech, to avoid digital silence.
_UNDER_DB = 35.0
_HIGH_PASS_HZ = 70.0
_FRAME = 160
_FADE = 40


def prepare(
    samples: Samples,
    rate: int,
    rng: Generator,
    *,
    pauses_s: tuple[float, float] = (_PAUSE_S, _PAUSE_S),
    own_noise: bool = True,
    under_db: float = _UNDER_DB,
    high_pass_hz: float = _HIGH_PASS_HZ,
) -> Samples:
    """Normalise the level, filter, add a pause at either end, and resample.

    Args:
        samples: the recording.
        rate: its sample rate in hertz.
        rng: random generator.
        pauses_s: duration of the pauses before and after, in seconds.
        own_noise: whether the pauses are filled with noise like the recording's quietest parts.
        under_db: level of the added white noise, in dB below the speech.
        high_pass_hz: cut-off frequency of the high-pass filter.

    Returns:
        float32 [samples] at `SAMPLE_RATE`.
    """
    high_pass = butter(2, high_pass_hz, "highpass", fs=rate, output="sos")
    speech = sosfiltfilt(high_pass, samples - samples.mean()).astype(np.float32)
    speech *= 10 ** (_LEVEL_DB / 20) / np.sqrt(np.mean(speech**2) + 1e-12)
    before, after = (int(pause * rate) for pause in pauses_s)
    heard = np.zeros(before + len(speech) + after, np.float32)
    if own_noise:
        heard = _own_noise(speech, len(heard), rng)
    fade = np.ones(len(speech), np.float32)
    fade[:_FADE] = np.linspace(0, 1, _FADE)
    fade[-_FADE:] = fade[:_FADE][::-1]
    spoken = slice(before, before + len(speech))
    heard[spoken] *= np.sqrt(1 - fade**2)
    heard[spoken] += speech * fade
    level = 10 ** ((_LEVEL_DB - under_db) / 20)
    wide = soxr.resample(heard, rate, SAMPLE_RATE)
    noisy: Samples = wide + np.float32(level) * white(len(wide), rng)
    return noisy


def _own_noise(speech: Samples, length: int, rng: Generator) -> Samples:
    """Noise with the level and spectrum of the quietest frames, at least 15 dB below the speech."""
    window = np.hanning(_FRAME).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(speech, _FRAME)[:: _FRAME // 4] * window
    quiet = np.argsort(np.sum(frames**2, axis=1))[: max(2, len(frames) // 12)]
    power = np.mean(np.abs(np.fft.rfft(frames[quiet], axis=1)) ** 2, axis=0) / np.sum(window**2)
    spectrum = np.fft.rfft(rng.standard_normal(length))
    places = np.linspace(0, len(power) - 1, len(spectrum))
    noise = np.fft.irfft(
        spectrum * np.sqrt(np.interp(places, np.arange(len(power)), power)), length
    )
    limit = np.sqrt(np.mean(speech**2)) * 10 ** (-15 / 20)
    loudness = np.sqrt(np.mean(noise**2)) + 1e-9
    scaled: Samples = (noise * min(1.0, limit / loudness)).astype(np.float32)
    return scaled
