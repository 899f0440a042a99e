"""The recordings of the archive, made fit for a recogniser that expects pauses around speech.

They are cut so tightly that a word may last four frames of the model's, and digital zeros beside a
noisy recording sound like a consonant. So each gets its own noise back at either end, for as long
as a pause lasts; and what is below speech is filtered out. No label plays a part in it.
"""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.random import Generator, default_rng
from scipy.signal import butter, sosfiltfilt

from workers.acoustics import Samples
from workers.speech import SAMPLE_RATE

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
#: Of the pause at either end, in seconds.
PAUSE_S = 0.5
#: White noise under everything, in dB below the speech: no model ever meets digital silence.
_UNDER_DB = 35.0
_HIGH_PASS_HZ = 70.0
_FRAME = 160
_FADE = 40


@dataclass(frozen=True)
class Recording:
    """One digit, spoken once."""

    path: Path
    digit: int
    speaker: str
    take: int


def unpack(archive: Path, folder: Path) -> list[Recording]:
    """All recordings of `archive`, prepared and written to `folder` if they are not there yet."""
    if not folder.exists():
        unfinished = folder.with_suffix(".partial")
        with tarfile.open(archive) as tar:
            tar.extractall(unfinished, filter="data")
        for number, path in enumerate(sorted(unfinished.rglob("*.wav"))):
            samples, rate = soundfile.read(path, dtype="float32")
            soundfile.write(path, prepare(samples, rate, default_rng(number)), SAMPLE_RATE)
        unfinished.rename(folder)
    found = []
    for path in sorted(folder.rglob("*.wav")):
        digit, name, take = path.stem.split("_")
        found.append(Recording(path, int(digit), name, int(take)))
    return found


def prepare(samples: Samples, rate: int, rng: Generator, *, under_db: float = _UNDER_DB) -> Samples:
    """`samples` at `rate` Hz as float32 [samples] at `SAMPLE_RATE`, with a pause at either end."""
    high_pass = butter(2, _HIGH_PASS_HZ, "highpass", fs=rate, output="sos")
    speech = sosfiltfilt(high_pass, samples - samples.mean()).astype(np.float32)
    pause = int(PAUSE_S * rate)
    heard = _own_noise(speech, len(speech) + 2 * pause, rng)
    fade = np.ones(len(speech), np.float32)
    fade[:_FADE] = np.linspace(0, 1, _FADE)
    fade[-_FADE:] = fade[:_FADE][::-1]
    heard[pause:-pause] *= np.sqrt(1 - fade**2)
    heard[pause:-pause] += speech * fade
    level = np.sqrt(np.mean(speech**2)) * 10 ** (-under_db / 20)
    wide = soxr.resample(heard, rate, SAMPLE_RATE)
    noisy: Samples = wide + np.float32(level) * rng.standard_normal(len(wide), dtype=np.float32)
    return noisy


def _own_noise(speech: Samples, length: int, rng: Generator) -> Samples:
    """Noise with the level and the colour of the quietest frames, at least 15 dB below the rest."""
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
    return (noise * min(1.0, limit / loudness)).astype(np.float32)
