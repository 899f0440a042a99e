"""Combine a model's tokens into words with times and confidences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from schemas.transcript import Word


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of one hypothesis; all lists have one item per token.

    Attributes:
        surfaces: what each token adds to the text, without spaces and word-boundary marks.
        starts: first frame of each token.
        ends: frame after the last frame of each token.
        confidences: 0 to 1; None if they were not requested of the model.
    """

    surfaces: list[str]
    starts: list[int]
    ends: list[int]
    confidences: list[float] | None


def fold_words(
    text: str, tokens: Tokens, *, frame_seconds: float, duration: float
) -> list[Word] | None:
    """Make the words of `text`, with times in seconds, and confidences if the tokens have them.

    A word lasts from the first frame of its first token to the end of its last one. Its
    confidence is the product of its tokens' confidences: the probability that all of them are
    right, if their errors are independent.

    Args:
        text: the hypothesis; its words are what whitespace separates.
        tokens: what the model emitted.
        frame_seconds: length of one frame of the model's output.
        duration: length of the clip in seconds; times are limited to it.

    Returns:
        One `Word` for each word of `text`; None if the tokens do not spell the text exactly (an
        unknown token, a changed punctuation mark): no times are better than wrong ones.
    """
    spans = _spans(text.split(), tokens.surfaces)
    if spans is None:
        return None
    return [
        Word(
            word=word,
            start=round(min(tokens.starts[first] * frame_seconds, duration), 3),
            end=round(min(tokens.ends[end - 1] * frame_seconds, duration), 3),
            confidence=None
            if tokens.confidences is None
            else round(math.prod(tokens.confidences[first:end]), 4),
        )
        for word, (first, end) in zip(text.split(), spans, strict=True)
    ]


def _spans(words: Sequence[str], surfaces: Sequence[str]) -> list[tuple[int, int]] | None:
    """The half-open range of tokens that spells each word; None if they do not add up."""
    spans: list[tuple[int, int]] = []
    at = 0
    for word in words:
        while at < len(surfaces) and not surfaces[at]:  # a bare space
            at += 1
        first, spelled = at, ""
        while at < len(surfaces) and len(spelled) < len(word):
            spelled += surfaces[at]
            at += 1
        if spelled != word:
            return None
        spans.append((first, at))
    return None if any(surfaces[at:]) else spans


def mean_confidence(words: Sequence[Word] | None) -> float | None:
    """Confidence of an utterance: the mean of its words' confidences; None if none has any."""
    known = [word.confidence for word in words or () if word.confidence is not None]
    return round(sum(known) / len(known), 4) if known else None


def max_prob(probabilities: np.ndarray[Any, Any], size: int) -> list[float]:
    """NeMo's `max_prob` confidence at alpha 1: 0 for a uniform distribution over `size` labels."""
    confidences: list[float] = np.clip((probabilities * size - 1) / (size - 1), 0, 1).tolist()
    return confidences


def merge_runs(
    labels: np.ndarray[Any, Any],
    best: np.ndarray[Any, Any],
    surfaces: Sequence[str],
    *,
    blank: int,
    size: int,
    confidence: bool,
) -> Tokens:
    """Merge runs of equal labels, as CTC does; a token has the confidence of its best frame.

    Args:
        labels: the likeliest label of each frame.
        best: log probability of each.
        surfaces: what each label adds to the text.
        blank: the label that adds nothing.
        size: number of labels.
        confidence: whether tokens have confidences.
    """
    changes = np.flatnonzero(np.diff(labels)) + 1
    starts = np.concatenate(([0], changes)) if len(labels) else changes
    ends = np.append(changes, len(labels)) if len(labels) else changes
    spoken = labels[starts] != blank
    peaks = np.maximum.reduceat(best, starts) if len(labels) else best
    return Tokens(
        surfaces=[surfaces[label] for label in labels[starts][spoken]],
        starts=starts[spoken].tolist(),
        ends=ends[spoken].tolist(),
        confidences=max_prob(np.exp(peaks[spoken]), size) if confidence else None,
    )
