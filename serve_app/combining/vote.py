"""Voting in a word transition network, as NIST's `rover` does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from serve_app.combining.network import Slot

#: How confidences count: their mean over the hypotheses that have the word, the highest of them, or
#: their sum over that of all words in the slot; `rover` calls these meth1, maxconf and avgconf.
Confidence = Literal["mean", "highest", "share"]
#: Scores that differ by less are equal: sums of the same shares may differ in their last digits.
_EQUAL = 1e-9


@dataclass(frozen=True)
class Winner:
    """A word that was voted for.

    Attributes:
        index: of the hypothesis that speaks for it, the first one that has it.
        word: index of the word in that hypothesis.
        places: of each hypothesis that has it: its index, and its word's.
        score: of the vote.
        tied: another word, or NULL, has the same score and lost by its place only.
    """

    index: int
    word: int
    places: tuple[tuple[int, int], ...]
    score: float
    tied: bool


def vote(
    slots: Sequence[Slot],
    words: Sequence[Sequence[str]],
    confidences: Sequence[Sequence[float]] | None = None,
    *,
    alpha: float = 1.0,
    null_confidence: float = 0.0,
    method: Confidence = "mean",
    weights: Sequence[float] | None = None,
) -> tuple[list[Winner], int]:
    """The winning words of `slots`, in order; and in how many slots the first two had one score.

    A word scores ``alpha * votes + (1 - alpha) * confidence``; of equals the one wins that came
    into its slot first.

    Args:
        words: of each hypothesis, as they were aligned.
        confidences: of each word, 0 to 1; needed where `alpha` is below 1.
        alpha: 1 counts votes only, 0 confidences only.
        null_confidence: of a hypothesis that has no word in a slot.
        method: see `Confidence`.
        weights: of each hypothesis' vote; all the same unless given. Votes are their share of the
            whole weight.
    """
    weights = [1.0] * len(words) if weights is None else weights
    total = sum(weights)
    shares = [weight / total for weight in weights]
    winners = []
    ties = 0
    for slot in slots:
        votes: dict[str | None, list[int]] = {each: [] for each in slot.words}
        for index, place in enumerate(slot.arcs):
            votes[None if place is None else words[index][place]].append(index)
        sure = {
            each: [
                null_confidence
                if (place := slot.arcs[index]) is None or confidences is None
                else confidences[index][place]
                for index in voters
            ]
            for each, voters in votes.items()
        }
        whole = sum(map(sum, sure.values()))
        best, best_score, tied = None, float("-inf"), False
        for each, voters in votes.items():
            score = alpha * sum(shares[index] for index in voters)
            if alpha < 1:
                score += (1 - alpha) * _confidence(sure[each], whole, method)
            if score > best_score + _EQUAL:
                best, best_score, tied = each, score, False
            elif score >= best_score - _EQUAL:
                tied = True
        ties += tied
        if best is not None:
            places = tuple(
                (index, place) for index in votes[best] if (place := slot.arcs[index]) is not None
            )
            winners.append(Winner(*places[0], places, best_score, tied))
    return winners, ties


def _confidence(confidences: Sequence[float], whole: float, method: Confidence) -> float:
    match method:
        case "mean":
            return sum(confidences) / len(confidences)
        case "highest":
            return max(confidences)
        case "share":
            return sum(confidences) / whole if whole else 0.0
