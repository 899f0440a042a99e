"""Values that producers write differently and that can mean one thing only.

A table that was exported as JSON often has numbers for ids, texts for seconds, and lists of one
tag. What could mean two things is left as it is, for the decoder to refuse.
"""

from __future__ import annotations

import json
import re
from typing import Any

#: Keys that hold one tag each.
_TAGS = ("lang", "domain", "conditions")
_SECONDS = ("offset", "duration")
#: Beyond it, programs differ in what they make of a number.
_LARGEST_ID = 1 << 63
#: A plain decimal number: no comma, which may stand for a point or for thousands.
_NUMBER = re.compile(r"\s*\d+(\.\d+)?\s*", re.ASCII)


def unambiguous(key: str, value: Any) -> Any:
    """The `value` of a record's `key` in the type that the manifest has for it, if it is certain.

    An integer is taken as an id, a decimal number in a text as seconds, and a list of one text as
    that tag. Any other value comes back unchanged.
    """
    if key == "id" and type(value) is int and abs(value) < _LARGEST_ID:  # a bool is an int too
        return str(value)
    if key in _SECONDS and isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value)
    if key in _TAGS and isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        return value[0]
    return value


def not_a_number(data: bytes) -> tuple[str, str] | None:
    """The first key whose value is, or holds, NaN or an infinity, and what it holds.

    Python's `json` and others write them, though JSON has no such numbers.

    Args:
        data: what a strict decoder refused.

    Returns:
        None if that is not the fault.
    """
    try:
        keys = json.loads(data, parse_constant=_Constant)
        if isinstance(keys, dict):
            for key, value in keys.items():
                if (constant := _constant_in(value)) is not None:
                    return key, constant
    except (ValueError, RecursionError):
        pass
    return None


class _Constant(str):
    """What stands in the place of a number and is none."""


def _constant_in(value: Any) -> str | None:
    if isinstance(value, _Constant):
        return value
    values = value.values() if isinstance(value, dict) else value
    inner = map(_constant_in, values) if isinstance(value, dict | list) else ()
    return next((each for each in inner if each is not None), None)
