"""Test speech of known texts, and a recogniser that errs where it is told to.

Utterances last 0.8 s, and each 1.3 times as long as the one before: so they are told apart by their
length alone, at any speed within 10%, whatever else has been done to them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import soundfile
from numpy.random import default_rng

from schemas.requests import ClipRequest
from schemas.settings import ModelSettings
from serve_app.audio.clip import Clip
from serve_app.engines.base import Hypothesis
from workers.evaluation.systems.base import FunctionSystem

RATE = 16_000
COUNT = 13  # the last one lasts 18.6 s
WORDS = 60
SECONDS = [0.8 * 1.3**number for number in range(COUNT)]

#: How an utterance is spoiled: takes its words, gives what is heard.
Spoil = Callable[[list[str]], list[str]]


def text_of(number: int) -> str:
    return " ".join(f"w{number}x{word}" for word in range(WORDS))


@cache
def voice(seconds: float, seed: int = 0) -> Clip:
    """Bursts of noise with pauses between, as wide as the band: clean speech to any measure."""
    rng = default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    loud = (np.sin(2 * np.pi * 4 * time) > -0.5) * 0.2
    return (loud * rng.standard_normal(len(time)) + 1e-4).astype(np.float32).clip(-1, 1)


def write_set(folder: Path, extra: Sequence[dict[str, Any]] = (), **keys: Any) -> Path:
    """A manifest of all utterances.

    Args:
        extra: further lines.
        keys: of each line: a value, or a function of the number.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, seconds in enumerate(SECONDS):
        soundfile.write(folder / f"{number}.wav", voice(seconds, number), RATE)
        line: dict[str, Any] = {
            "id": f"u{number}",
            "audio_filepath": f"{number}.wav",
            "text": text_of(number),
        }
        line |= {key: value(number) if callable(value) else value for key, value in keys.items()}
        lines.append(line)
    path = folder / "test.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in [*lines, *extra]))
    return path


def number_of(clip: Clip) -> int:
    """Which utterance it is."""
    return round(math.log(len(clip) / RATE / SECONDS[0]) / math.log(1.3))


def system(
    name: str = "scripted",
    errs: Callable[[Clip], bool] = lambda clip: False,
    spoil: Spoil = lambda words: ["wrong"] * len(words),
    **options: Any,
) -> FunctionSystem:
    """Hears all that is said, but where `errs` of the clip what `spoil` makes of it."""

    def transcribe(clips: list[Clip]) -> list[str]:
        texts = []
        for clip in clips:
            words = text_of(number_of(clip)).split()
            texts.append(" ".join(spoil(words) if errs(clip) else words))
        return texts

    return FunctionSystem(name, transcribe, **options)


class ScriptedEngine:
    """The same as an engine that settings can name.

    Its options: `wrong`, the numbers of the utterances that it hears half of, and `confidence`
    there; it is sure of all others. `german` are those that it identifies as German.
    """

    #: How many clips each was given, by its `path`.
    asked: ClassVar[dict[str, int]] = {}

    def __init__(self, settings: ModelSettings) -> None:
        self.sample_rate = RATE
        self.sha256 = ""
        self.device = "cpu"
        self._name = settings.options["name"]
        self._wrong = settings.options.get("wrong", [])
        self._german = settings.options.get("german", [])
        self._confidence = settings.options.get("confidence", 0.3)

    def transcribe(
        self, clips: Sequence[Clip], requests: Sequence[ClipRequest] = ()
    ) -> list[Hypothesis]:
        self.asked[self._name] = self.asked.get(self._name, 0) + len(clips)
        return [self._hear(number_of(clip)) for clip in clips]

    def identify_languages(self, clips: Sequence[Clip]) -> list[tuple[str, float]]:
        return [("de" if number_of(clip) in self._german else "en", 0.9) for clip in clips]

    def _hear(self, number: int) -> Hypothesis:
        if number not in self._wrong:
            return Hypothesis(text=text_of(number), confidence=0.99)
        text = " ".join(half(text_of(number).split()))
        return Hypothesis(text=text, confidence=self._confidence)


def half(words: list[str]) -> list[str]:
    """Every second word is another."""
    return [word if index % 2 else "wrong" for index, word in enumerate(words)]
