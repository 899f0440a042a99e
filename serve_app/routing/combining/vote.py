"""Vote in a word transition network, as NIST's `rover` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from serve_app.routing.combining.network import Slot

#: The confidence of a word in a slot: the mean over the hypotheses that have the word, the highest
#: of them, or their sum divided by that of all words in the slot; in `rover` meth1, maxconf and
#: avgconf.
Confidence = Literal["mean", "highest", "share"]
#: Scores that differ by less are equal: sums of the same numbers may differ in their last digits.
_EQUAL = 1e-9


@dataclass(frozen=True)
class Winner:
    """A word that was voted for.

    Attributes:
        index: of the first hypothesis that has the word.
        word: index of the word in that hypothesis.
        places: for each hypothesis that has the word, its index and that of its word.
        score: of the word.
    """

    index: int
    word: int
    places: tuple[tuple[int, int], ...]
    score: float


def vote(
    slots: Sequence[Slot],
    words: Sequence[Sequence[str]],
    confidences: Sequence[Sequence[float]] | None = None,
    *,
    alpha: float = 1.0,
    null_confidence: float = 0.0,
    method: Confidence = "mean",
    weights: Sequence[float] | None = None,
) -> list[Winner]:
    """Find the winning words of a network, in order.

    The score of a word is ``alpha * votes + (1 - alpha) * confidence``; of equal words, the one
    that was added to its slot first wins.

    Args:
        slots: the network.
        words: of each hypothesis, as they were aligned.
        confidences: of each word, 0 to 1; needed if `alpha` is below 1.
        alpha: 1 counts votes only, 0 confidences only.
        null_confidence: of a hypothesis without a word in a slot.
        method: see `Confidence`.
        weights: of the votes of each hypothesis; equal by default. Votes are shares of their sum.
    """
    weights = [1.0] * len(words) if weights is None else weights
    total = sum(weights)
    shares = [weight / total for weight in weights]
    winners = []
    for slot in slots:
        votes: dict[str | None, list[int]] = {each: [] for each in slot.words}
        sure: dict[str | None, list[float]] = {each: [] for each in slot.words}
        for index, place in enumerate(slot.arcs):
            word = None if place is None else words[index][place]
            votes[word].append(index)
            if place is None or confidences is None:
                sure[word].append(null_confidence)
            else:
                sure[word].append(confidences[index][place])
        whole = sum(map(sum, sure.values()))
        best, best_score = None, float("-inf")
        for each, voters in votes.items():
            score = alpha * sum([shares[index] for index in voters])
            if alpha < 1:
                score += (1 - alpha) * _confidence(sure[each], whole, method)
            if score > best_score + _EQUAL:
                best, best_score = each, score
        if best is not None:
            places = tuple(
                [(index, place) for index in votes[best] if (place := slot.arcs[index]) is not None]
            )
            winners.append(Winner(*places[0], places, best_score))
    return winners


def _confidence(confidences: Sequence[float], whole: float, method: Confidence) -> float:
    match method:
        case "mean":
            return sum(confidences) / len(confidences)
        case "highest":
            return max(confidences)
        case "share":
            return sum(confidences) / whole if whole else 0.0
