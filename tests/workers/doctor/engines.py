"""Engines with a fault each, for examinations."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.requests import ClipRequest
from schemas.settings import ModelSettings
from serve_app.audio.clip import Clip
from serve_app.engines.base import Hypothesis, Rejection


class Mute:
    """Hears nothing at all."""

    sample_rate = 16_000
    sha256 = ""
    device = "cpu"

    def __init__(self, settings: ModelSettings) -> None:
        pass

    def transcribe(
        self, clips: Sequence[Clip], requests: Sequence[ClipRequest]
    ) -> list[Hypothesis | Rejection]:
        return [Hypothesis(text="") for _ in clips]


class Knowing(Mute):
    """Knows the words of the shipped clips by heart; `wrong` of its options is said instead."""

    texts = (
        "i want to return the black table that i bought next week",
        "send the package to seventeen main street in dublin",
        "is the train to boston on time today",
        "robert and peter are going to paris on sunday",
    )

    def __init__(self, settings: ModelSettings) -> None:
        self._wrong = settings.options.get("wrong", 0)

    def transcribe(
        self, clips: Sequence[Clip], requests: Sequence[ClipRequest]
    ) -> list[Hypothesis | Rejection]:
        if len(clips) != len(self.texts):
            return [Hypothesis(text="") for _ in clips]
        words = [text.split() for text in self.texts]
        for number in range(self._wrong):
            words[number % len(words)][number // len(words)] = "xxx"
        return [Hypothesis(text=" ".join(each)) for each in words]


class Told(Mute):
    """Says which language it is told."""

    def transcribe(
        self, clips: Sequence[Clip], requests: Sequence[ClipRequest]
    ) -> list[Hypothesis | Rejection]:
        return [Hypothesis(text=each.language or "") for each in requests]
