"""Numbers and other values as text."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from markupsafe import Markup

from workers.evaluation.statistics.intervals import Interval

#: Where there is no figure.
NONE = "–"


def one_decimal(value: float | None) -> str:
    """`value` with one decimal; a dash where there is none."""
    return NONE if value is None else f"{value:.1f}"


def breakable(name: str) -> Markup:
    """A name that may be broken after the signs that join its parts, and not within one."""
    return Markup("<wbr>").join(re.split(r"(?<=[/:_.=])(?=.)", name))


def signed(value: float) -> str:
    """A number with one decimal and a typographic minus; never a negative zero."""
    text = f"{value:.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "−")


def between(interval: Interval) -> str:
    """The bounds of `interval`, with one decimal each."""
    return f"{interval.low:.1f}–{interval.high:.1f}"


def three_digits(value: float | None) -> str:
    """A number with two decimals below 10, one below 100, and none from there on."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def p_value(value: float) -> str:
    """A p-value as it is usually written, with at most three decimals."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def duration(seconds: float) -> str:
    """A duration in seconds, minutes or hours, whichever suits its length."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} h"


def moment(text: str) -> str:
    """An ISO 8601 time in UTC, in a readable form; any other text unchanged."""
    try:
        made = datetime.fromisoformat(text)
    except ValueError:
        return text
    made = made.astimezone(UTC) if made.tzinfo else made
    return made.strftime("%Y-%m-%d %H:%M UTC")


def shorten(text: str, limit: int = 18) -> str:
    """`text` on one line of at most `limit` characters, with an ellipsis where it is cut."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
