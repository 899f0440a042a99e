"""WER against speed, with each system's name where it covers the least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator

from workers.evaluation.report.charts.svg import (
    FONT,
    draw_markers,
    empty_figure,
    stand_in,
    styled,
    to_svg,
)
from workers.evaluation.report.text import shorten

#: Left, bottom, right and top.
Box = tuple[float, float, float, float]


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
        """Its ends."""
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
        _set_limits(axes, points)
        axes.set_xlabel("RTFx (faster to the right)")
        axes.set_ylabel("WER, %")
        axes.grid(axis="y")
        _label_points(axes, points)
        return to_svg(figure, "speed")


def _set_limits(axes: Axes, points: Sequence[Point]) -> None:
    axes.set_ylim(0, max(1.0, 1.1 * max(each.whisker[1] for each in points)))
    slow, fast = min(each.rtfx for each in points), max(each.rtfx for each in points)
    if slow > 0 and fast / slow > 5:
        axes.set_xscale("log")
        axes.set_xlim(slow / 1.6, fast * 1.6)
        ticks = [m * 10.0**e for e in range(-3, 7) for m in (1, 2, 5)]
        axes.set_xticks([tick for tick in ticks if slow / 1.6 <= tick <= fast * 1.6])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        room = 0.15 * (fast - slow) or 0.2 * fast or 1.0
        axes.set_xlim(max(0.0, slow - room), fast + room)


def _label_points(axes: Axes, points: Sequence[Point]) -> None:
    """A name beside each point, where it covers the least of points, whiskers and other names."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # only then it is known where a point lies
    ink = [box for each in points for box in _ink_of(axes, each)]
    inside = (axes.bbox.x0, axes.bbox.y0, axes.bbox.x1, axes.bbox.y1)
    taken: list[Box] = []
    for each in points:
        name = shorten(each.name)
        label = axes.annotate(name, (0, 0), xycoords="figure pixels", ha="center", va="center")
        label.set_in_layout(False)
        width, height = label.get_window_extent().width, 1.25 * FONT
        ends = [axes.transData.transform((each.rtfx, wer))[1] for wer in each.whisker]
        x, y = axes.transData.transform((each.rtfx, each.wer))
        boxes = [
            (left, middle - height / 2, left + width, middle + height / 2)
            for left, middle in _places(x, y, ends, width, height)
        ]
        box = min(boxes, key=lambda box: _cost(box, ink, taken, inside))
        taken.append(box)
        label.xy = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        label.set_position(label.xy)


def _ink_of(axes: Axes, point: Point) -> list[Box]:
    """The boxes of marker and whisker."""
    x, y = axes.transData.transform((point.rtfx, point.wer))
    low, high = (axes.transData.transform((point.rtfx, wer))[1] for wer in point.whisker)
    return [(x - 5, y - 5, x + 5, y + 5), (x - 1.5, low, x + 1.5, high)]


def _places(
    x: float, y: float, ends: Sequence[float], width: float, height: float
) -> list[tuple[float, float]]:
    """Left end and middle of a name, the best place first."""
    sides = [x + 9, x - 9 - width]
    return [
        *((side, y + up * height) for up in (0.0, 0.6, -0.6) for side in sides),
        (x - width / 2, ends[1] + 0.7 * height),
        (x - width / 2, ends[0] - 0.7 * height),
        *((side, y + up * height) for up in (1.1, -1.1, 1.6, -1.6) for side in sides),
    ]


def _cost(box: Box, ink: Sequence[Box], taken: Sequence[Box], inside: Box) -> float:
    """The area that `box` covers of what is there, and what of it lies outside."""
    own = (box[2] - box[0]) * (box[3] - box[1])
    over = sum(_overlap(box, each) for each in ink) + sum(_overlap(box, each) for each in taken)
    return round(over + 2 * (own - _overlap(box, inside)), 3)


def _overlap(a: Box, b: Box) -> float:
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, wide) * max(0.0, high)
