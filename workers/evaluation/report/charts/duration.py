"""WER against the duration of utterances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workers.evaluation.report.charts.svg import (
    draw_markers,
    empty_figure,
    set_x_limits,
    stand_in,
    styled,
    to_svg,
    wer_top,
)


@dataclass(frozen=True)
class Curve:
    """Durations in seconds, upwards, and the WER there in percent, of system `number`."""

    number: int
    points: Sequence[tuple[float, float]]


def duration_chart(name: str, curves: Sequence[Curve]) -> str:
    """A chart of the WER of each system by duration; `name` is unique on the page."""
    with styled():
        figure, axes = empty_figure(3.1)
        for each in curves:
            xs, ys = zip(*each.points, strict=True)
            axes.plot(xs, ys, color=stand_in(each.number), lw=1.1, alpha=0.55)
            draw_markers(axes, xs, ys, each.number)
        set_x_limits(axes, [x for each in curves for x, _ in each.points])
        axes.set_ylim(0, wer_top([y for each in curves for _, y in each.points]))
        axes.set_xlabel("Duration, s")
        axes.set_ylabel("WER, %")
        axes.grid(axis="y")
        return to_svg(figure, name)
