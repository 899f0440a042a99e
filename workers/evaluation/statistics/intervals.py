"""Confidence intervals of WERs and of their differences, by a blockwise bootstrap.

Utterances of the same speaker are correlated, so speakers are resampled instead of utterances
wherever the manifest names enough of them (Bisani and Ney, 2004; blocks: Liu and Peng, 2020). Each
replicate has as many blocks as the test set, and a pooled WER. Intervals are percentiles of the
replicates' WERs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import msgspec
import numpy as np
from numpy.typing import NDArray

from workers.evaluation.statistics.scores import UtteranceScore

REPLICATES = 4_000
#: With fewer speakers than this, utterances are resampled instead of speakers.
MIN_BLOCKS = 8
_LEVEL = 95.0
_PARTS = 8

#: The utterances' scores by system; None for an utterance without a reference.
Scores = Mapping[str, Sequence[UtteranceScore | None]]


class Interval(msgspec.Struct, frozen=True):
    """A 95% confidence interval, in percent: the middle 95% of the replicates."""

    low: float
    high: float


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Whether one system is better than another on the same utterances.

    Attributes:
        a: name of one system.
        b: name of the other.
        wer: WER of `a` minus WER of `b`, in percentage points: below 0, `a` is better.
        low: lower end of the 95% interval of `wer`.
        high: upper end of the interval.
        p: two-sided p-value.
        p_adjusted: p-value after Holm's correction for all pairs compared on the set.
    """

    a: str
    b: str
    wer: float
    low: float
    high: float
    p: float
    p_adjusted: float

    @property
    def significant(self) -> bool:
        """Whether the difference is significant at the 5% level, after the correction."""
        return self.p_adjusted < 0.05


class Bootstrap:
    """Bootstrap replicates of a test set, the same for every system, so that systems are paired.

    Args:
        speakers: speaker of each utterance; empty where unknown.
        scored: whether each utterance has a reference.
        seed: seed of the random generator.

    Attributes:
        unit: what is resampled: "speakers" or "utterances".
        blocks: how many of them there are.
    """

    def __init__(self, speakers: Sequence[str], scored: Sequence[bool], *, seed: int = 0) -> None:
        self._scored = [index for index, each in enumerate(scored) if each]
        known = [speakers[i] for i in self._scored]
        if all(known) and len(set(known)) >= MIN_BLOCKS:
            self.unit = "speakers"
            names = {name: number for number, name in enumerate(dict.fromkeys(known))}
            self._block_of = [names[name] for name in known]
        else:
            self.unit = "utterances"
            self._block_of = list(range(len(known)))
        self.blocks = len(set(self._block_of))
        self._seed = seed

    def interval(self, scores: Sequence[UtteranceScore | None]) -> Interval | None:
        """The interval of one system's WER; None with fewer than two blocks, or no words."""
        drawn = self._drawn(scores)
        return None if drawn is None else Interval(*_middle(drawn))

    def differences(self, systems: Scores) -> list[Difference]:
        """The difference of every pair of `systems`, in order; empty if there is no interval."""
        drawn = {name: self._drawn(scores) for name, scores in systems.items()}
        pairs = list(combinations(systems, 2))
        apart = [
            one - other
            for a, b in pairs
            if (one := drawn[a]) is not None and (other := drawn[b]) is not None
        ]
        if len(apart) < len(pairs):
            return []
        values = [_p_value(each) for each in apart]
        found = []
        for (a, b), draws, p, adjusted in zip(pairs, apart, values, _holm(values), strict=True):
            low, high = _middle(draws)
            wer = self._wer(systems[a]) - self._wer(systems[b])
            found.append(
                Difference(
                    a=a, b=b, wer=round(wer, 4), low=low, high=high, p=p, p_adjusted=adjusted
                )
            )
        return found

    def _counts(self, scores: Sequence[UtteranceScore | None]) -> NDArray[np.int64]:
        """Word errors and reference words of each block: [blocks, 2]."""
        counts = np.zeros((self.blocks, 2), np.int64)
        for index, block in zip(self._scored, self._block_of, strict=True):
            score = scores[index]
            if score is not None:
                counts[block] += (score.words.errors, score.words.reference)
        return counts

    def _wer(self, scores: Sequence[UtteranceScore | None]) -> float:
        errors, words = self._counts(scores).sum(axis=0)
        return float(100 * errors / words)

    def _drawn(self, scores: Sequence[UtteranceScore | None]) -> NDArray[np.float64] | None:
        """The WER of each replicate: [replicates]."""
        counts = self._counts(scores)
        if self.blocks < 2 or not counts[:, 1].any():
            return None
        rng = np.random.default_rng(self._seed)  # the same replicates for every system
        chances = np.full(self.blocks, 1 / self.blocks)
        rates = []
        for _ in range(_PARTS):  # all at once would not fit memory for a large set
            times = rng.multinomial(self.blocks, chances, REPLICATES // _PARTS)
            errors, words = (times @ counts).T
            rates.append(100 * errors / np.maximum(words, 1))
        return np.concatenate(rates)


def _middle(values: NDArray[np.float64]) -> tuple[float, float]:
    tail = (100 - _LEVEL) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return round(float(low), 4), round(float(high), 4)


def _p_value(differences: NDArray[np.float64]) -> float:
    """Two-sided p-value: twice the smaller share of replicates on either side of zero."""
    side = min(int(np.sum(differences <= 0)), int(np.sum(differences >= 0)))
    return min(1.0, 2 * (side + 1) / (len(differences) + 1))


def _holm(values: Sequence[float]) -> list[float]:
    """Holm's correction of p-values for multiple comparisons (Holm, 1979)."""
    adjusted = [0.0] * len(values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        highest = max(highest, min(1.0, values[index] * (len(values) - rank)))
        adjusted[index] = highest
    return adjusted
