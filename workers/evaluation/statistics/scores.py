"""Accuracy of utterances and of whole test sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from serve_app.scoring.wer import (
    NORMALISER,
    ErrorCounts,
    Normaliser,
    count_character_errors,
    count_errors,
)

#: Limits of an "excellent" and a "good" utterance, WER in percent (NeMo Curator's tutorial).
EXCELLENT, GOOD = 10.0, 25.0

Rates = NDArray[np.float64]


class UtteranceScore(msgspec.Struct, frozen=True, kw_only=True):
    """Errors in one utterance that has a reference.

    Attributes:
        words: word errors. If the model failed, all words of the reference count as deleted.
        characters: character errors, likewise.
        failed: whether the model failed on the utterance.
    """

    words: ErrorCounts
    characters: ErrorCounts
    failed: bool = False

    @property
    def wer(self) -> float | None:
        """Word error rate in percent; None if the reference is empty."""
        return self.words.percent


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """Accuracy on a set of utterances. Rates are in percent; None where they are undefined.

    Attributes:
        utterances: number of utterances that have a reference and are scored.
        without_reference: number of utterances that are not scored.
        empty_references: number of utterances in which nothing is said. Words recognised there
            count as insertions in the pooled rates; such an utterance has no WER of its own.
        failed: number of utterances on which the model failed. All their words count as deleted.
        words: sum of the word errors.
        characters: sum of the character errors.
        wer: pooled word error rate: all errors divided by all reference words.
        cer: pooled character error rate.
        mean_wer: mean of the utterances' WERs, without weights.
        median_wer: median of the utterances' WERs.
        wer_std: population standard deviation of the utterances' WERs.
        excellent_rate: percent of the utterances with a WER of at most 10.
        good_rate: percent of the utterances with a WER of at most 25.
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


def score_utterance(
    reference: str,
    hypothesis: str | None,
    normaliser: Normaliser = NORMALISER,
    *,
    lang: str | None = None,
) -> UtteranceScore:
    """Count the errors of one utterance; a `hypothesis` of None means that the model failed."""
    heard = hypothesis or ""
    return UtteranceScore(
        words=count_errors(reference, heard, normaliser, lang=lang),
        characters=count_character_errors(reference, heard, normaliser, lang=lang),
        failed=hypothesis is None,
    )


def pool(scores: Iterable[UtteranceScore | None]) -> Score:
    """Sum up the scores of a set; None stands for an utterance without a reference."""
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
