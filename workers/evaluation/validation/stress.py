"""Stress tests: degrade test speech in defined ways, to see how robust a model is."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from numpy.random import Generator, default_rng

from serve_app.audio import acoustics
from serve_app.audio.clip import Clip
from workers.manifests.speech import Utterance

#: Signal-to-noise ratios in dB, by mean power: audible, annoying, loud.
NOISE_SNRS = (20, 10, 5)


@dataclass(frozen=True)
class Stress:
    """One kind of degradation; it is deterministic for each utterance.

    Attributes:
        kind: "noise", "telephone", "speed", "clipping" or "reverberation".
        amount: SNR in dB, speed factor, clipped fraction, or reverberation time in seconds.
        name: display name.
    """

    kind: str
    amount: float
    name: str

    def __call__(self, utterance: Utterance, clip: Clip, rate: int) -> Clip:
        """Degrade `clip`, float32 [samples] at `rate` Hz."""
        digest = sha256(f"{utterance.id}\0{self.name}".encode()).digest()
        return _change(self, clip, rate, default_rng(int.from_bytes(digest[:8])))


#: The stress tests of `chorus validate`: pink noise, telephone band, 10% slower and faster, the
#: loudest 5% of the samples clipped, a room with a reverberation time of 0.6 s.
ALL = (
    *(Stress("noise", snr, f"noise at {snr} dB") for snr in NOISE_SNRS),
    Stress("telephone", 0.0, "telephone band"),
    Stress("speed", 0.9, "speed 0.9"),
    Stress("speed", 1.1, "speed 1.1"),
    Stress("clipping", 0.05, "clipping of 5%"),
    Stress("reverberation", 0.6, "reverberation of 0.6 s"),
)


def _change(stress: Stress, clip: Clip, rate: int, rng: Generator) -> Clip:
    amount = stress.amount
    match stress.kind:
        case "noise":
            noise = acoustics.coloured(len(clip), 1, rng, rate)
            return acoustics.add_noise(clip, noise, amount)
        case "telephone":
            return acoustics.by_telephone(clip, rate)
        case "speed":
            return acoustics.at_speed(clip, amount)
        case "clipping":
            return acoustics.clipped(clip, amount)
        case "reverberation":
            return acoustics.in_room(clip, rate, amount, rng)
    raise ValueError(f"unknown kind of stress: {stress.kind}")
