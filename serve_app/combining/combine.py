"""The combiners: from several candidates to one text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.settings import Combiner
from schemas.transcript import Word
from serve_app.combining.hypotheses import Candidate
from serve_app.combining.network import build_network
from serve_app.combining.vote import vote
from serve_app.wer import count_edits

#: Least weight of a member without confidence: it takes part, and never decides.
_LEAST = 1e-9


@dataclass(frozen=True)
class Combined:
    """What came out.

    Attributes:
        text: the words, as the members spell them.
        model: the member whose text it is; of a vote the one with the most words in it.
        confidence: of the text, calibrated, 0 to 1.
        words: with times and calibrated confidences; None where a member has no times.
    """

    text: str
    model: str
    confidence: float
    words: list[Word] | None


def combine(candidates: Sequence[Candidate], combiner: Combiner) -> Combined:
    """One text from at least one candidate. About a millisecond for five of 30 words.

    Ties go to the candidate that is the more confident one, then to the earlier one.
    """
    ranked = sorted(candidates, key=lambda each: -each.confidence)
    match combiner.method:
        case "weighted":
            # silence is a member's word only if all have it
            spoken = [each for each in ranked if each.keys] or ranked
            return _whole(max(spoken, key=lambda each: combiner.weights.get(each.model, 1.0)))
        case "confidence":
            return _whole(ranked[0])
        case "mbr":
            return _whole(_least_risk(ranked, combiner.power))
        case "rover":
            return _vote(ranked, combiner)


def _whole(winner: Candidate) -> Combined:
    return Combined(winner.text, winner.model, winner.confidence, _words(winner))


def _words(winner: Candidate) -> list[Word] | None:
    pairs = zip(winner.words, winner.confidences, strict=True)
    words = [Word(word.word, word.start, word.end, round(sure, 4)) for word, sure in pairs]
    return words if _have_times(words) else None


def _weights(candidates: Sequence[Candidate], power: float) -> list[float]:
    sure = [max(each.confidence, _LEAST) for each in candidates]
    # relative to the highest: high powers of all of them may be too small for a float
    return [(each / max(sure)) ** power for each in sure]


def _least_risk(ranked: Sequence[Candidate], power: float) -> Candidate:
    """The one with the least expected edits, where each candidate may be the truth.

    Minimum Bayes risk over the candidates (Goel and Byrne, 2000), their posterior taken as
    proportional to confidence to the power.
    """
    weights = _weights(ranked, power)

    def risk(one: Candidate) -> float:
        return sum(
            weight * count_edits(other.keys, one.keys).errors
            for weight, other in zip(weights, ranked, strict=True)
        )

    return min(ranked, key=risk)


def _vote(ranked: Sequence[Candidate], combiner: Combiner) -> Combined:
    """ROVER, the most confident first: it is the base of the alignment and wins ties."""
    keys = [each.keys for each in ranked]
    spans = [[(word.start, word.end) for word in each.words] for each in ranked]
    timed = all(_have_times(each.words) for each in ranked)
    if combiner.max_gap_s is None or not timed:
        network = build_network(keys)
    else:
        network = build_network(keys, spans, combiner.max_gap_s)
    winners, _ = vote(
        network,
        keys,
        [each.confidences for each in ranked],
        alpha=combiner.alpha,
        null_confidence=combiner.null_confidence,
        method=combiner.vote_confidence,
        weights=_weights(ranked, combiner.power),
    )
    words = []
    lead = [0] * len(ranked)
    for each in winners:
        word = ranked[each.index].words[each.word]
        sure = max(ranked[voter].confidences[place] for voter, place in each.places)
        words.append(Word(word.word, word.start, word.end, round(sure, 4)))
        for voter, _ in each.places:
            lead[voter] += 1
    sure = sum(word.confidence or 0.0 for word in words) / len(words) if words else 0.0
    return Combined(
        text=" ".join(word.word for word in words),
        model=ranked[lead.index(max(lead))].model,
        confidence=sure,
        words=words if _have_times(words) else None,
    )


def _have_times(words: Sequence[Word]) -> bool:
    return all(word.end > 0 for word in words)
