"""The chart of a confidence sequence, as the numbers of an SVG that the template writes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from workers.console.rollouts.sequence import Point

WIDTH, HEIGHT = 720, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 30, 10, 30
#: The first part of a sequence, whose intervals are too wide to set the scale.
_EARLY = 0.2
#: Ticks of an axis, about.
_TICKS = 5


@dataclass(frozen=True)
class Chart:
    """Where things are drawn, in units of the SVG.

    Attributes:
        band: corners of the interval.
        mean, margin: corners of the lines.
        zero: height of no difference.
        x_ticks, y_ticks: places on the axes, with their labels.
    """

    band: str
    mean: str
    margin: str
    zero: float
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    bottom: int = HEIGHT - _BOTTOM


def chart_of(points: Sequence[Point]) -> Chart | None:
    """The chart; None without points."""
    if not points:
        return None
    late = points[int(_EARLY * len(points)) :]
    low = min(0.0, *(min(each.low, each.mean) for each in late))
    high = max(0.0, *(max(each.high, each.mean, each.margin) for each in late))
    room = 0.06 * (high - low) or 1.0
    low, high = low - room, high + room
    last = points[-1].blocks

    def x(blocks: float) -> float:
        return round(_LEFT + (WIDTH - _LEFT - _RIGHT) * blocks / last, 1)

    def y(value: float) -> float:
        inside = min(max(value, low), high)
        return round(_TOP + (HEIGHT - _TOP - _BOTTOM) * (high - inside) / (high - low), 1)

    def line(values: Iterable[tuple[int, float]]) -> str:
        return " ".join(f"{x(blocks)},{y(value)}" for blocks, value in values)

    upper = [(each.blocks, each.high) for each in points]
    lower = [(each.blocks, each.low) for each in reversed(points)]
    return Chart(
        band=line([*upper, *lower]),
        mean=line((each.blocks, each.mean) for each in points),
        margin=line((each.blocks, each.margin) for each in points),
        zero=y(0),
        x_ticks=[(x(each), f"{each:,.0f}") for each in _ticks(0, last)],
        y_ticks=[(y(each), f"{each:+g}" if each else "0") for each in _ticks(low, high)],
    )


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from `low` to `high`."""
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(each for each in (1, 2, 5, 10) if each * power >= rough)
    first = math.ceil(low / step)
    return [round(each * step, 10) for each in range(first, math.floor(high / step) + 1)]
