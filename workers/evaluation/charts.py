"""Figures of a comparison, as SVG that goes into an HTML page and takes its colours and font."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from matplotlib.ticker import FuncFormatter, NullLocator

#: How many colours the page has to define: `--series-0`, `--series-1`, ...
COLOURS = 8
#: With factors that make them look alike in size. There is one more than there are colours, so that
#: no two of the first 72 systems look the same.
MARKERS = {
    "o": 1.0,
    "s": 0.92,
    "^": 1.12,
    "D": 0.85,
    "v": 1.12,
    "P": 1.12,
    "X": 1.12,
    "p": 1.12,
    "*": 1.45,
}

_WIDTH = 4.5  # inches; a point is about a pixel on a phone
_FONT = 11.5
_LABEL_CHARS = 18
#: Stand-ins that the SVG's colours are found by.
_INK, _RULE, _PAPER = "#fe0200", "#fe0201", "#fe0202"
_PAGE_COLOURS = {_INK: "currentColor", _RULE: "var(--rule)", _PAPER: "var(--paper)"}
#: Left, bottom, right and top.
Box = tuple[float, float, float, float]

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # names are not formulas
    "font.size": _FONT,
    "axes.labelsize": _FONT,
    "xtick.labelsize": _FONT,
    "ytick.labelsize": _FONT,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "xtick.color": _RULE,
    "ytick.color": _RULE,
    "axes.edgecolor": _RULE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": _RULE,
    "grid.linewidth": 0.7,
}


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


@dataclass(frozen=True)
class Series:
    """A system's WER in percent by category; None where there is none."""

    name: str
    number: int
    values: Sequence[float | None]


def colour(number: int) -> str:
    """The CSS colour of system `number`."""
    return f"var(--series-{number % COLOURS})"


def marker_path(number: int) -> str:
    """The marker of system `number`: `d` of an SVG path within -1 to 1."""
    style = MarkerStyle(_marker(number))
    path = style.get_path().transformed(style.get_transform())
    polygons = [np.asarray(each) for each in path.to_polygons(width=0, height=0)]
    size = max(float(np.abs(each).max()) for each in polygons)
    parts = []
    for each in polygons:
        corners = " ".join(f"{x / size:.2f},{-y / size:.2f}" for x, y in each)
        parts.append(f"M{corners}Z")
    return "".join(parts)


def speed_chart(points: Sequence[Point]) -> str:
    """WER against RTFx, a labelled point for each system, with whiskers where it has an interval.

    Raises:
        ValueError: there is no point.
    """
    if not points:
        raise ValueError("no system has a speed and an accuracy")
    with _styled():
        figure, axes = _figure(3.4)
        for each in points:
            tint = _stand_in(each.number)
            if each.low is not None and each.high is not None:
                axes.plot([each.rtfx] * 2, [each.low, each.high], color=tint, lw=1.4, alpha=0.6)
            _mark(axes, [each.rtfx], [each.wer], each.number, size=8.5)
        _set_speed_limits(axes, points)
        axes.set_xlabel("RTFx (faster to the right)")
        axes.set_ylabel("WER, %")
        axes.grid(axis="y")
        _label_points(axes, points)
        return _svg(figure, "speed")


def ordered_chart(
    name: str, categories: Sequence[str], counts: Sequence[int], series: Sequence[Series]
) -> str:
    """WER by the steps of a quantity, upwards; each step says of how many utterances it is.

    Args:
        name: unique on the page.
    """
    with _styled():
        figure, axes = _figure(3.1)
        places = np.arange(len(categories), dtype=float)
        for each, shift in zip(series, _shifts(len(series), 0.34), strict=True):
            ys = np.array([np.nan if value is None else value for value in each.values])
            axes.plot(places + shift, ys, color=_stand_in(each.number), lw=1.1, alpha=0.55)
            _mark(axes, places + shift, ys, each.number)
        axes.set_xticks(
            places, [f"{text}\nn={n}" for text, n in zip(categories, counts, strict=True)]
        )
        axes.set_xlim(-0.5, len(categories) - 0.5)
        axes.set_ylim(0, _top(series))
        axes.set_ylabel("WER, %")
        axes.grid(axis="y")
        return _svg(figure, name)


def category_chart(
    name: str, categories: Sequence[str], counts: Sequence[int], series: Sequence[Series]
) -> str:
    """WER by the values of a field, one line of the chart for each value, the first one on top.

    Args:
        name: unique on the page.
    """
    with _styled():
        figure, axes = _figure(1.0 + 0.52 * len(categories))
        places = np.arange(len(categories), dtype=float)
        for each, shift in zip(series, _shifts(len(series), 0.24), strict=True):
            xs = np.array([np.nan if value is None else value for value in each.values])
            _mark(axes, xs, places + shift, each.number)
        labels = [f"{shorten(text)}\nn={n}" for text, n in zip(categories, counts, strict=True)]
        axes.set_yticks(places, labels)
        axes.set_ylim(len(categories) - 0.5, -0.5)
        axes.set_xlim(0, _top(series))
        axes.set_xlabel("WER, %")
        axes.grid(axis="x")
        for line in places[1:] - 0.5:
            axes.axhline(line, color=_RULE, lw=0.5, ls=(0, (2, 3)))
        return _svg(figure, name)


def shorten(text: str, length: int = _LABEL_CHARS) -> str:
    """`text` on one line, with an ellipsis where it is cut."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


@contextmanager
def _styled() -> Iterator[None]:
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # the page's fonts show it
        warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)
        yield


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, height), dpi=72, layout="constrained")
    figure.patch.set_visible(False)
    axes = figure.subplots()
    axes.patch.set_visible(False)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    return figure, axes


def _stand_in(number: int) -> str:
    return f"#fe01{number % COLOURS:02x}"


def _marker(number: int) -> str:
    return list(MARKERS)[number % len(MARKERS)]


def _mark(
    axes: Axes,
    xs: Sequence[float] | np.ndarray,
    ys: Sequence[float] | np.ndarray,
    number: int,
    size: float = 7.0,
) -> None:
    axes.plot(
        xs,
        ys,
        ls="none",
        marker=_marker(number),
        ms=size * MARKERS[_marker(number)],
        mfc=_stand_in(number),
        mec=_PAPER,
        mew=0.8,
        clip_on=False,
        zorder=3,
    )


def _shifts(count: int, width: float) -> np.ndarray:
    """Where each of `count` markers goes beside a category, so that equal ones can be told apart"""
    return np.linspace(-width, width, count) if count > 1 else np.zeros(count)


def _top(series: Sequence[Series]) -> float:
    highest = max((v for each in series for v in each.values if v is not None), default=0.0)
    return max(1.0, 1.08 * highest)


def _set_speed_limits(axes: Axes, points: Sequence[Point]) -> None:
    axes.set_ylim(0, max(1.0, 1.1 * max(each.high or each.wer for each in points)))
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
        width, height = label.get_window_extent().width, 1.25 * _FONT
        ends = [axes.transData.transform((each.rtfx, wer))[1] for wer in _span(each)]
        x, y = axes.transData.transform((each.rtfx, each.wer))
        boxes = [
            (left, middle - height / 2, left + width, middle + height / 2)
            for left, middle in _places(x, y, ends, width, height)
        ]
        box = min(boxes, key=lambda box: _cost(box, ink, taken, inside))
        taken.append(box)
        label.xy = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        label.set_position(label.xy)


def _span(point: Point) -> tuple[float, float]:
    """The ends of the whisker."""
    return (
        point.wer if point.low is None else point.low,
        point.wer if point.high is None else point.high,
    )


def _ink_of(axes: Axes, point: Point) -> list[Box]:
    """The boxes of marker and whisker."""
    x, y = axes.transData.transform((point.rtfx, point.wer))
    low, high = (axes.transData.transform((point.rtfx, wer))[1] for wer in _span(point))
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


def _svg(figure: Figure, name: str) -> str:
    """An `svg` element without fixed size, colours or font; ids begin with `name`."""
    text = StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None})
    return _inline(text.getvalue(), name)


def _inline(svg: str, name: str) -> str:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<(metadata|style)\b.*?</\1>", "", svg, flags=re.DOTALL)
    head, rest = svg.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    assert box is not None
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', rest))
    rest = re.sub(r"<[^>]+>", lambda tag: _page_tag(tag[0], name, used), rest)
    rest = re.sub(r">\s+<", "><", rest).strip()
    return f'<svg {box[0]} role="img" aria-labelledby="{name}-title">{rest}'


def _page_tag(tag: str, name: str, used: Set[str]) -> str:
    """`tag` as it fits the page; nothing that a text says is changed."""
    tag = re.sub(
        r' id="([^"]*)"', lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "", tag
    )
    tag = re.sub(r'(href="|url\()#', rf"\1#{name}-", tag).replace("xlink:href", "href")
    tag = re.sub(r"#fe01[0-9a-f]{2}", lambda found: colour(int(found[0][-2:], 16)), tag)
    for stand_in, css in _PAGE_COLOURS.items():
        tag = tag.replace(stand_in, css)
    tag = re.sub(r" font-family: [^;\"]*;", "", tag)
    return re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", tag)
