"""Figures as text."""

from __future__ import annotations

from datetime import UTC, datetime

from workers.evaluation.intervals import Interval

#: Where there is no figure.
NONE = "–"


def one_decimal(value: float | None) -> str:
    return NONE if value is None else f"{value:.1f}"


def signed(value: float) -> str:
    """One decimal, with a true minus; never a negative zero."""
    text = f"{value:.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "−")


def between(interval: Interval) -> str:
    return f"{interval.low:.1f}–{interval.high:.1f}"


def three_digits(value: float | None) -> str:
    """More where there are more before the point."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def duration(seconds: float) -> str:
    """In seconds, minutes or hours."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} h"


def moment(text: str) -> str:
    """ISO 8601 as people read it, in UTC; anything else as it is."""
    try:
        made = datetime.fromisoformat(text)
    except ValueError:
        return text
    made = made.astimezone(UTC) if made.tzinfo else made
    return made.strftime("%Y-%m-%d %H:%M UTC")


def shorten(text: str, limit: int = 18) -> str:
    """`text` on one line, with an ellipsis where it is cut."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
