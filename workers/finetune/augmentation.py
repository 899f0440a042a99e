"""What makes a clip sound a little different each time that it is heard."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import soxr
from numpy.random import Generator
from numpy.typing import NDArray

#: White noise is added at a signal-to-noise ratio of at most this many dB: hardly to be heard.
_HIGHEST_SNR = 55.0


@dataclass(frozen=True)
class Augmentation:
    """Speed, silence and noise, drawn at random for each clip.

    Attributes:
        speed: the clip is played up to this much faster or slower (0.1 is 10%), which also moves
            pitch and formants: more speakers from few (Ko et al., 2015).
        silence: seconds of silence, at most, at either end. Less is right where what is to be
            transcribed is cut tightly.
        noise: part of the clips that get white noise. Less than all where recordings of a narrow
            band (8 kHz) come clean: noise fills the band that will be empty.
        lowest_snr: of that noise, in dB of mean powers.
    """

    speed: float = 0.0
    silence: float = 0.2
    noise: float = 1.0
    lowest_snr: float = 25.0

    def __call__(
        self, samples: NDArray[np.float32], sample_rate: int, rng: Generator
    ) -> NDArray[np.float32]:
        """`samples`, float32 [samples] at `sample_rate` Hz, as they are heard this time."""
        if self.speed:
            speed = rng.uniform(1 - self.speed, 1 + self.speed)
            samples = soxr.resample(samples, speed, 1.0, quality="LQ")
        ends = rng.integers(0, max(1, int(self.silence * sample_rate)), size=2)
        padded = np.pad(samples, ends)
        if self.noise < 1 and rng.random() >= self.noise:
            return padded
        snr = rng.uniform(self.lowest_snr, _HIGHEST_SNR)
        level = np.float32(np.sqrt(np.mean(samples**2)) * 10 ** (-snr / 20))
        return padded + level * rng.standard_normal(len(padded), dtype=np.float32)
