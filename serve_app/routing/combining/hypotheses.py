"""Prepare hypotheses for combination: normalised words and calibrated confidences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from schemas.calibration import ModelCalibration
from schemas.transcript import Word
from serve_app.engines.base import Hypothesis
from serve_app.routing.calibration import calibrated
from serve_app.scoring.wer import normalise_each

T = TypeVar("T")


@dataclass(frozen=True)
class Candidate:
    """A member's hypothesis, prepared for combination.

    Attributes:
        model: name of the member.
        text: as the model spells it.
        words: as the model spells them, with times and raw confidences if it has them.
        keys: the normalised form of each word, by which words are compared.
        confidences: calibrated confidence of each word, 0 to 1; that of the whole hypothesis for a
            word without one, and 1 if the model has none at all.
    """

    model: str
    text: str
    words: tuple[Word, ...]
    keys: tuple[str, ...]
    confidences: tuple[float, ...]

    @cached_property
    def confidence(self) -> float:
        """Mean of the words' confidences; 0 without words, so that silence never wins."""
        return sum(self.confidences) / len(self.confidences) if self.confidences else 0.0


def candidate(
    model: str, heard: Hypothesis, calibration: ModelCalibration | None = None
) -> Candidate:
    """Prepare the hypothesis of a model; words that are only punctuation are left out.

    Args:
        model: name of the member.
        heard: its hypothesis.
        calibration: of the model; None leaves the confidences raw.
    """
    words = heard.words
    if words is None:
        words = [Word(each, 0.0, 0.0, heard.confidence) for each in heard.text.split()]
    known = [heard.confidence if each.confidence is None else each.confidence for each in words]
    raw = [1.0 if each is None else each for each in known]
    sure_of = calibrated(raw, None if None in known else calibration)
    keys = normalise_each([each.word for each in words])
    kept = [place for place, key in enumerate(keys) if key]
    return Candidate(
        model=model,
        text=heard.text,
        words=_pick(words, kept),
        keys=_pick(keys, kept),
        confidences=_pick(sure_of, kept),
    )


def _pick(items: Sequence[T], places: Sequence[int]) -> tuple[T, ...]:
    return tuple(items if len(places) == len(items) else [items[place] for place in places])
