"""Test speech made harder in known ways, to see what a model can bear."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from numpy.random import Generator, default_rng

from serve_app.engines.base import Clip
from workers import acoustics
from workers.speech import Utterance

#: Of the noise, in dB of mean powers: audible, annoying, loud.
NOISE_SNRS = (20, 10, 5)


@dataclass(frozen=True)
class Stress:
    """One way of making speech harder. The same utterance is changed alike each time.

    Attributes:
        kind: "noise", "telephone", "speed", "clipping" or "reverberation".
        amount: in dB, times, parts or seconds; what the kind is measured in.
        name: for people.
    """

    kind: str
    amount: float
    name: str

    def __call__(self, utterance: Utterance, clip: Clip, rate: int) -> Clip:
        """`clip`, float32 [samples] at `rate` Hz, made harder."""
        digest = sha256(f"{utterance.id}\0{self.name}".encode()).digest()
        return _change(self, clip, rate, default_rng(int.from_bytes(digest[:8])))


#: What `chorus validate` tries: pink noise, a telephone line, 10% faster and slower, the loudest
#: 5% of the samples cut, a room that rings for 0.6 s.
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
    raise ValueError(f"no such stress: {stress.kind}")
