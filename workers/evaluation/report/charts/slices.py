"""Charts of the WER by the values of a field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workers.evaluation.report.charts.svg import (
    RULE,
    draw_markers,
    empty_figure,
    stand_in,
    styled,
    to_svg,
    wer_top,
)
from workers.evaluation.report.text import shorten


@dataclass(frozen=True)
class Series:
    """WERs of system `number` in percent, one for each category; None where it has none."""

    number: int
    values: Sequence[float | None]


def ordered_chart(
    name: str, categories: Sequence[str], counts: Sequence[int], series: Sequence[Series]
) -> str:
    """A chart of the WER by ranges of a quantity, in ascending order, with utterance counts.

    A line is interrupted where a range has no WER.

    Args:
        name: unique on the page.
        categories: labels of the rows.
        counts: utterances of each category.
        series: the WER of each system, by category.
    """
    with styled():
        figure, axes = empty_figure(3.1)
        places = np.arange(len(categories), dtype=float)
        for each, shift in zip(series, _shifts(len(series), 0.34), strict=True):
            ys = _numbers(each)
            axes.plot(places + shift, ys, color=stand_in(each.number), lw=1.1, alpha=0.55)
            draw_markers(axes, places + shift, ys, each.number)
        axes.set_xticks(
            places, [f"{text}\nn={n}" for text, n in zip(categories, counts, strict=True)]
        )
        axes.set_xlim(-0.5, len(categories) - 0.5)
        axes.set_ylim(0, _top(series))
        axes.set_ylabel("WER, %")
        axes.grid(axis="y")
        return to_svg(figure, name)


def category_chart(
    name: str, categories: Sequence[str], counts: Sequence[int], series: Sequence[Series]
) -> str:
    """A chart of the WER with one row for each value of a field, the first one on top.

    Args:
        name: unique on the page.
        categories: labels of the rows.
        counts: utterances of each category.
        series: the WER of each system, by category.
    """
    with styled():
        figure, axes = empty_figure(1.0 + 0.52 * len(categories))
        places = np.arange(len(categories), dtype=float)
        for each, shift in zip(series, _shifts(len(series), 0.24), strict=True):
            draw_markers(axes, _numbers(each), places + shift, each.number)
        labels = [f"{shorten(text)}\nn={n}" for text, n in zip(categories, counts, strict=True)]
        axes.set_yticks(places, labels)
        axes.set_ylim(len(categories) - 0.5, -0.5)
        axes.set_xlim(0, _top(series))
        axes.set_xlabel("WER, %")
        axes.grid(axis="x")
        for line in places[1:] - 0.5:
            axes.axhline(line, color=RULE, lw=0.5, ls=(0, (2, 3)))
        return to_svg(figure, name)


def _numbers(series: Series) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in series.values])


def _shifts(count: int, width: float) -> np.ndarray:
    """Offsets of `count` markers around a category, so that equal values can be told apart."""
    return np.linspace(-width, width, count) if count > 1 else np.zeros(count)


def _top(series: Sequence[Series]) -> float:
    return wer_top([v for each in series for v in each.values if v is not None])
