"""How well texts were recognised: the counts of a set, and of every utterance in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from serve_app.wer import ErrorCounts, count_character_errors, count_errors

#: Limits of an "excellent" and a "good" utterance, WER in percent (NeMo Curator's tutorial).
EXCELLENT, GOOD = 10.0, 25.0

Rates = NDArray[np.float64]


class UtteranceScore(msgspec.Struct, frozen=True, kw_only=True):
    """One utterance that has a reference.

    Attributes:
        words, characters: the edits. Where the model failed, all of the reference is deleted.
        failed: the model gave no hypothesis.
    """

    words: ErrorCounts
    characters: ErrorCounts
    failed: bool = False

    @property
    def wer(self) -> float | None:
        """In percent; None where nothing is said."""
        return self.words.percent


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """Accuracy on a set of utterances. Rates are in percent; None where there is nothing to divide.

    Attributes:
        utterances: those that have a reference, and are counted here.
        without_reference: transcribed, but not to be scored.
        empty_references: where nothing is said. What is heard there counts as insertions in the
            pooled rates; such an utterance has no rate of its own.
        failed: where the model gave no hypothesis. All words count as deleted.
        words, characters: edits, added up.
        wer, cer: pooled: all edits by all words, or characters.
        mean_wer, median_wer, wer_std: of the utterances' own rates, each with the same weight
            (standard deviation of the population).
        excellent_rate, good_rate: percent of the utterances with a WER of at most 10 and 25.
    """

    utterances: int = 0
    without_reference: int = 0
    empty_references: int = 0
    failed: int = 0
    words: ErrorCounts = ErrorCounts()
    characters: ErrorCounts = ErrorCounts()
    wer: float | None = None
    cer: float | None = None
    mean_wer: float | None = None
    median_wer: float | None = None
    wer_std: float | None = None
    excellent_rate: float | None = None
    good_rate: float | None = None


def score_utterance(reference: str, hypothesis: str | None) -> UtteranceScore:
    """The edits of one utterance; a `hypothesis` of None is a failure of the model."""
    heard = hypothesis or ""
    return UtteranceScore(
        words=count_errors(reference, heard),
        characters=count_character_errors(reference, heard),
        failed=hypothesis is None,
    )


def pool(scores: Iterable[UtteranceScore | None]) -> Score:
    """The score of a set. None stands for an utterance without a reference."""
    every = list(scores)
    scored = [each for each in every if each is not None]
    words = sum((each.words for each in scored), start=ErrorCounts())
    characters = sum((each.characters for each in scored), start=ErrorCounts())
    rates = np.array([each.wer for each in scored if each.wer is not None])
    return Score(
        utterances=len(scored),
        without_reference=len(every) - len(scored),
        empty_references=len(scored) - len(rates),
        failed=sum(each.failed for each in scored),
        words=words,
        characters=characters,
        wer=_rounded(words.percent),
        cer=_rounded(characters.percent),
        mean_wer=_of(rates, np.mean),
        median_wer=_of(rates, np.median),
        wer_std=_of(rates, np.std),
        excellent_rate=_of(rates, lambda r: 100 * np.mean(r <= EXCELLENT)),
        good_rate=_of(rates, lambda r: 100 * np.mean(r <= GOOD)),
    )


def _of(rates: Rates, function: Callable[[Rates], Any]) -> float | None:
    return _rounded(float(function(rates))) if len(rates) else None


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 4)
