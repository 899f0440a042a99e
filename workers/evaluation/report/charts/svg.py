"""Figures of matplotlib as `svg` elements that take their colours and font from the page."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from io import StringIO
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from workers.evaluation.report.charts.markers import COLOURS, colour, marker

WIDTH = 4.5  # inches; a point is about a pixel on a phone
FONT = 11.5
#: Stand-ins that the SVG's colours are found by.
INK, RULE, PAPER = "#fe0200", "#fe0201", "#fe0202"

_PAGE_COLOURS = {INK: "currentColor", RULE: "var(--rule)", PAPER: "var(--paper)"}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # names are not formulas
    "font.size": FONT,
    "axes.labelsize": FONT,
    "xtick.labelsize": FONT,
    "ytick.labelsize": FONT,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "axes.edgecolor": RULE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
}


@contextmanager
def styled() -> Iterator[None]:
    """The style of all charts; a figure is drawn and converted to SVG within it."""
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # the page's fonts show it
        warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)
        yield


def empty_figure(height: float) -> tuple[Figure, Axes]:
    """A figure of the common width and its axes; `height` in inches."""
    figure = Figure(figsize=(WIDTH, height), dpi=72, layout="constrained")
    figure.patch.set_visible(False)
    axes = figure.subplots()
    axes.patch.set_visible(False)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    return figure, axes


def stand_in(number: int) -> str:
    """The placeholder colour of system `number`, which `to_svg` replaces by a CSS variable."""
    return f"#fe01{number % COLOURS:02x}"


def draw_markers(
    axes: Axes,
    xs: Sequence[float] | np.ndarray,
    ys: Sequence[float] | np.ndarray,
    number: int,
    size: float = 7.0,
) -> None:
    """Draw the markers of system `number`; `size` in points."""
    shape, factor = marker(number)
    axes.plot(
        xs,
        ys,
        ls="none",
        marker=shape,
        ms=size * factor,
        mfc=stand_in(number),
        mec=PAPER,
        mew=0.8,
        clip_on=False,
        zorder=3,
    )


def set_x_limits(axes: Axes, values: Sequence[float]) -> None:
    """Limits with some room around positive `values`; logarithmic where they differ much."""
    low, high = min(values), max(values)
    if low > 0 and high / low > 5:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.6, high * 1.6)
        ticks = [m * 10.0**e for e in range(-3, 7) for m in (1, 2, 5)]
        axes.set_xticks([tick for tick in ticks if low / 1.6 <= tick <= high * 1.6])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        room = 0.15 * (high - low) or 0.2 * high or 1.0
        axes.set_xlim(max(0.0, low - room), high + room)


def wer_top(values: Sequence[float]) -> float:
    """The upper end of an axis of WERs in percent."""
    return max(1.0, 1.08 * max(values, default=0.0))


def to_svg(figure: Figure, name: str) -> str:
    """An `svg` element without fixed size, colours or font; ids begin with `name`.

    The page has an element of the id `name`-title for it.
    """
    text = StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        # `figure.savefig` would draw twice
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None})  # type: ignore[no-untyped-call]
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<(metadata|style)\b.*?</\1>", "", svg, flags=re.DOTALL)
    head, rest = svg.split(">", 1)
    [box] = re.findall(r'viewBox="[^"]*"', head)
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', rest))
    rest = re.sub(r"<[^>]+>", lambda tag: _page_tag(tag[0], name, used), rest)
    rest = re.sub(r">\s+<", "><", rest).strip()
    return f'<svg {box} role="img" aria-labelledby="{name}-title">{rest}'


def _page_tag(tag: str, name: str, used: Set[str]) -> str:
    """A tag of the SVG with the ids, colours and fonts of the page."""
    tag = re.sub(
        r' id="([^"]*)"', lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "", tag
    )
    tag = re.sub(r'(href="|url\()#', rf"\1#{name}-", tag).replace("xlink:href", "href")
    tag = re.sub(r"#fe01[0-9a-f]{2}", lambda found: colour(int(found[0][-2:], 16)), tag)
    for one, css in _PAGE_COLOURS.items():
        tag = tag.replace(one, css)
    tag = re.sub(r" font-family: [^;\"]*;", "", tag)
    return re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", tag)
