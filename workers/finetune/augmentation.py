"""What makes a clip sound a little different each time that it is heard."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.fft import next_fast_len

from workers import acoustics

#: Noise is added at a signal-to-noise ratio of at most this many dB: hardly to be heard.
_HIGHEST_SNR = 55.0
#: Seconds in which a room's sound decays by 60 dB, and how far it is below the direct sound, in dB.
_RT60, _DIRECT_DB = (0.08, 0.5), (0.0, 12.0)
#: Of coloured noise: white, pink or brown, and between.
_SLOPES = (0.0, 0.0, 0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Augmentation:
    """What is drawn at random for each clip, in this order.

    Attributes:
        speed: the clip is played up to this much faster or slower (0.1 is 10%), which also moves
            pitch and formants: more speakers from few (Ko et al., 2015).
        tempo: it is spoken up to this much faster or slower, the voice as it was.
        rooms: part of the clips that are heard in a room.
        equaliser: standard deviation in dB of another microphone's frequency response.
        silence: seconds of silence, at most, at either end. Less is right where what is to be
            transcribed is cut tightly.
        noise: part of the clips that get noise. Less than all where recordings of a narrow band
            (8 kHz) come clean: noise fills the band that will be empty.
        lowest_snr: of that noise, in dB of mean powers.
        coloured: whether the noise may be pink or brown too.
    """

    speed: float = 0.0
    tempo: float = 0.0
    rooms: float = 0.0
    equaliser: float = 0.0
    silence: float = 0.2
    noise: float = 1.0
    lowest_snr: float = 25.0
    coloured: bool = False

    def __call__(
        self, samples: NDArray[np.float32], sample_rate: int, rng: Generator
    ) -> NDArray[np.float32]:
        """`samples`, float32 [samples] at `sample_rate` Hz, as they are heard this time."""
        if self.speed:
            samples = acoustics.at_speed(samples, rng.uniform(1 - self.speed, 1 + self.speed))
        if self.tempo:
            samples = acoustics.stretched(samples, rng.uniform(1 - self.tempo, 1 + self.tempo))
        if self.rooms and rng.random() < self.rooms:
            rt60, below = rng.uniform(*_RT60), rng.uniform(*_DIRECT_DB)
            samples = acoustics.in_room(samples, sample_rate, rt60, rng, below)
        if self.equaliser:
            samples = acoustics.equalised(samples, sample_rate, self.equaliser, rng)
        ends = rng.integers(0, max(1, int(self.silence * sample_rate)), size=2)
        padded = np.pad(samples, ends)
        if self.noise < 1 and rng.random() >= self.noise:
            return padded
        snr = rng.uniform(self.lowest_snr, _HIGHEST_SNR)
        level = np.float32(np.sqrt(np.mean(samples**2)) * 10 ** (-snr / 20))
        return padded + level * self._noise(len(padded), sample_rate, rng)

    def _noise(self, length: int, rate: int, rng: Generator) -> NDArray[np.float32]:
        """Of unit power."""
        slope = rng.choice(_SLOPES) if self.coloured else 0.0
        if not slope:
            return acoustics.white(length, rng)
        whole = next_fast_len(length, real=True)
        noise = acoustics.coloured(whole, slope, rng, rate)[:length]
        return noise / np.float32(np.sqrt(np.mean(noise**2)))
