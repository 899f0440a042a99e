"""Shares of a whole, as people write them: `20%`, or 0.2."""

from __future__ import annotations

import re
from typing import Any

_PERCENT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*%\s*", re.ASCII)


def percent_of(value: Any) -> Any:
    """The number before the sign of `value`, a text such as `20%`; any other value unchanged."""
    found = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    return value if found is None else float(found[1])


def share_of(value: Any) -> Any:
    """`value`, a text such as `20%`, as a part of one; any other value comes back unchanged."""
    percent = percent_of(value)
    return value if percent is value else percent / 100
