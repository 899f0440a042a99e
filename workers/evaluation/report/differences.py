"""The differences between every two systems, from the viewpoint of the better one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workers.evaluation.report.keys import Key, Keys
from workers.evaluation.report.text import p_value
from workers.evaluation.statistics.intervals import Difference

#: Width of the picture of an interval, in units of its own.
_BAR = 200


@dataclass(frozen=True)
class Bar:
    """An interval as a bar: positions from 0 to 200, on one scale for all pairs of a set."""

    zero: float
    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class Pair:
    """A difference: how much lower the WER of `better` is, in points."""

    better: Key
    worse: Key
    points: float
    low: float
    high: float
    p: str
    significant: bool
    bar: Bar


@dataclass(frozen=True)
class Differences:
    """All pairs on one set, or on all sets.

    Attributes:
        pairs: empty where there is too little to test.
        drawn, blocks: as in `SetInfo`.
    """

    pairs: list[Pair]
    drawn: str
    blocks: int

    @property
    def significant(self) -> int:
        """How many of the differences are significant."""
        return sum(each.significant for each in self.pairs)


def differences_of(keys: Keys, pairs: Sequence[Difference], drawn: str, blocks: int) -> Differences:
    """The pairs as they are shown: significant differences first, and larger before smaller."""
    ends = [0.0, *(end for each in pairs for end in _better_first(each)[2:])]
    told = [_pair(keys, each, min(ends), max(ends)) for each in pairs]
    return Differences(
        pairs=sorted(told, key=lambda each: (not each.significant, -each.points)),
        drawn=drawn,
        blocks=blocks,
    )


def _pair(keys: Keys, each: Difference, left: float, right: float) -> Pair:
    def place(points: float) -> float:
        return round(_BAR * (points - left) / ((right - left) or 1.0), 1)

    better, worse, low, high = _better_first(each)
    points = abs(each.wer)
    return Pair(
        better=keys[better],
        worse=keys[worse],
        points=points,
        low=low,
        high=high,
        p=p_value(each.p_adjusted),
        significant=each.significant,
        bar=Bar(zero=place(0.0), low=place(low), middle=place(points), high=place(high)),
    )


def _better_first(each: Difference) -> tuple[str, str, float, float]:
    """The better system, the worse one, and the interval's ends for better against worse."""
    if each.wer > 0:
        return each.b, each.a, each.low, each.high
    return each.a, each.b, -each.high, -each.low
