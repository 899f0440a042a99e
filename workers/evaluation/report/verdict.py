"""Which system is the best one, and which it is shown to be better than."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workers.evaluation.comparison.results import OverallResult, SetResult
from workers.evaluation.report.keys import Key, Keys
from workers.evaluation.statistics.intervals import Difference, Interval

#: Every system on one set, or every system on all of them.
Results = Sequence[SetResult] | Sequence[OverallResult]


@dataclass(frozen=True)
class Verdict:
    """The conclusion from one set, or from all sets together.

    Attributes:
        best: the systems with the lowest WER; empty where nothing could be scored.
        better_than: systems that all of `best` are shown to be better than.
        unclear: systems for which that is not shown.
        tested: whether there are tests at all.
    """

    best: list[Key]
    wer: float | None
    interval: Interval | None
    better_than: list[Key]
    unclear: list[Key]
    tested: bool


def verdict_of(keys: Keys, results: Results, pairs: Sequence[Difference]) -> Verdict:
    """Which system is best by its WER, and which are not significantly worse."""
    lowest = lowest_wer(results)
    scored = [each for each in results if each.score.wer is not None]
    best = [each for each in scored if each.score.wer == lowest]
    leaders = [each.system for each in best]
    others = [each.system for each in scored if each.system not in leaders]
    proven = {
        (each.a, each.b) if each.wer < 0 else (each.b, each.a) for each in pairs if each.significant
    }
    better_than = [name for name in others if all((one, name) in proven for one in leaders)]
    return Verdict(
        best=[keys[name] for name in leaders],
        wer=lowest,
        interval=best[0].interval if best else None,
        better_than=[keys[name] for name in better_than],
        unclear=[keys[name] for name in others if name not in better_than],
        tested=bool(pairs),
    )


def lowest_wer(results: Results) -> float | None:
    """The lowest WER of the results, in percent; None where none could be scored."""
    rates = [each.score.wer for each in results if each.score.wer is not None]
    return min(rates, default=None)
