"""Numbers, times and texts of others, as pages show them."""

from __future__ import annotations

from datetime import UTC, datetime

#: Where there is no figure.
NONE = "–"
#: Marks of direction, which texts in some scripts need.
_DIRECTION = (
    "\u200b\u200c\u200d\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


def clock(seconds: float | None) -> str:
    """A Unix time in seconds as date and time in UTC."""
    if seconds is None:
        return NONE
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):  # any producer's
        return f"{seconds:g}"


def figure(value: float | None, digits: int = 1) -> str:
    """A number with so many decimals; a dash where there is none."""
    return NONE if value is None else f"{value:,.{digits}f}"


def percent(share: float | None) -> str:
    """A share from 0 to 1 in percent."""
    return NONE if share is None else f"{100 * share:.0f}%"


def shown(text: str, limit: int = 2000) -> str:
    """A text of others for a page: cut, and without characters that a page cannot hold.

    Characters that reverse the direction of what follows stay: whoever shows the text puts it into
    a `bdi` or an element with `dir`, which they do not reach beyond.
    """
    cut = text if len(text) <= limit else text[:limit] + " …"
    return "".join(
        each if each.isprintable() or each in "\n\t" or each in _DIRECTION else "�" for each in cut
    )
