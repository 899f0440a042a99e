"""WER against speed, with each system's name beside its point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from workers.evaluation.report.charts.svg import (
    INK,
    draw_markers,
    empty_figure,
    set_x_limits,
    stand_in,
    styled,
    to_svg,
)
from workers.evaluation.report.text import shorten

#: Most steps in which names are moved apart.
_ITERATIONS = 500


@dataclass(frozen=True)
class Point:
    """A system's speed and accuracy.

    Attributes:
        number: of the system, which its colour and marker come from.
        wer: in percent, with the ends of its interval, if there is one.
    """

    name: str
    number: int
    rtfx: float
    wer: float
    low: float | None = None
    high: float | None = None

    @property
    def whisker(self) -> tuple[float, float]:
        """Lower and upper end of the interval; both the WER itself where there is none."""
        return (
            self.wer if self.low is None else self.low,
            self.wer if self.high is None else self.high,
        )


def speed_chart(points: Sequence[Point]) -> str:
    """WER against RTFx, a labelled point for each system, with whiskers where it has an interval.

    Raises:
        ValueError: there is no point.
    """
    if not points:
        raise ValueError("no system has a speed and an accuracy")
    with styled():
        figure, axes = empty_figure(3.4)
        for each in points:
            if each.low is not None and each.high is not None:
                tint = stand_in(each.number)
                axes.plot([each.rtfx] * 2, each.whisker, color=tint, lw=1.4, alpha=0.6)
            draw_markers(axes, [each.rtfx], [each.wer], each.number, size=8.5)
        set_x_limits(axes, [each.rtfx for each in points])
        axes.set_ylim(0, max(1.0, 1.1 * max(each.whisker[1] for each in points)))
        axes.set_xlabel("RTFx (faster to the right)")
        axes.set_ylabel("WER, %")
        axes.grid(axis="y")
        _label_points(axes, points)
        return to_svg(figure, "speed")


def _label_points(axes: Axes, points: Sequence[Point]) -> None:
    """Write a name beside each point, away from markers, whiskers and other names."""
    from adjustText import adjust_text  # it imports pyplot, which takes its time

    figure = axes.figure
    figure.draw_without_rendering()  # type: ignore[union-attr]  # only then it is known where a point lies
    figure.set_layout_engine("none")  # type: ignore[union-attr]  # and it is to stay there
    labels = [_label_beside(axes, each) for each in points]
    adjust_text(
        labels,
        ax=axes,
        target_x=[each.rtfx for each in points],
        target_y=[each.wer for each in points],
        objects=[box for each in points for box in _boxes_of(axes, each)],
        avoid_self=False,
        force_explode=0,
        force_pull=0,
        # rather up and down than along the name, and by small steps
        force_text=(0.05, 0.3),
        force_static=(0.05, 0.3),
        min_arrow_len=14,
        iter_lim=_ITERATIONS,  # a limit on time would make the chart depend on the machine
        arrowprops={"arrowstyle": "-", "color": INK, "lw": 0.5, "alpha": 0.6},
    )


def _label_beside(axes: Axes, point: Point) -> Text:
    """The name of a point on the side of it where there is more room."""
    x, y = axes.transData.transform((point.rtfx, point.wer))
    right = x < (axes.bbox.x0 + axes.bbox.x1) / 2
    x, y = axes.transData.inverted().transform((x + (9 if right else -9), y))
    label = axes.text(x, y, shorten(point.name), ha="left" if right else "right", va="center")
    label.set_in_layout(False)
    return label


def _boxes_of(axes: Axes, point: Point) -> list[Bbox]:
    """What marker and whisker cover, in data coordinates."""
    x, y = axes.transData.transform((point.rtfx, point.wer))
    low, high = (axes.transData.transform((point.rtfx, wer))[1] for wer in point.whisker)
    corners = [((x - 5, y - 5), (x + 5, y + 5)), ((x - 1.5, low), (x + 1.5, high))]
    return [Bbox(axes.transData.inverted().transform(each)) for each in corners]
