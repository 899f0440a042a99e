"""The main table: the WER of each system on each set, and on all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from workers.evaluation.report.keys import Key, Keys
from workers.evaluation.report.verdict import Results, lowest_wer
from workers.evaluation.statistics.intervals import Interval


@dataclass(frozen=True)
class Cell:
    """A WER in percent, and the intensity of its background, 0 to 100."""

    wer: float | None
    interval: Interval | None
    heat: float
    best: bool


def wer_table(keys: Keys, columns: Sequence[Results]) -> list[tuple[Key, list[Cell]]]:
    """A row for each system; `columns` have the systems in the order of `keys`."""
    cells = [_column(each) for each in columns]
    return [(key, [column[number] for column in cells]) for number, key in enumerate(keys.values())]


def _column(results: Results) -> list[Cell]:
    lowest = lowest_wer(results) if len(results) > 1 else None
    return [
        Cell(
            wer=each.score.wer,
            interval=each.interval,
            heat=_heat(each.score.wer or 0.0),
            best=lowest is not None and each.score.wer == lowest,
        )
        for each in results
    ]


def _heat(wer: float) -> float:
    """The intensity of a background; its root lets 2% and 5% differ where another WER is 100%."""
    return round(100 * sqrt(min(100.0, wer) / 100))
