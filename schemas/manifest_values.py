"""Values that producers write differently and that can mean one thing only.

A table that was exported as JSON often has numbers for ids, texts for seconds, and lists of one
tag. What could mean two things is left as it is, for the decoder to refuse.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from itertools import chain
from typing import Any

from schemas.channels import channel_of

#: Keys that hold one tag each.
_TAGS = ("lang", "domain", "conditions")
_SECONDS = ("offset", "duration")
#: Beyond it, programs differ in what they make of a number.
_LARGEST_ID = 1 << 63
#: A plain decimal number: no comma, which may stand for a point or for thousands.
_NUMBER = re.compile(r"\s*\d+(\.\d+)?\s*", re.ASCII)


def unambiguous(key: str, value: Any) -> Any:
    """The `value` of a record's `key` in the type that the manifest has for it, if it is certain.

    An integer is taken as an id, a decimal number in a text as seconds, a number in a text or
    `average` as a channel, and a list of one text as that tag. Any other value comes back as it is.
    """
    if key == "id" and type(value) is int and abs(value) < _LARGEST_ID:  # a bool is an int too
        return str(value)
    if key in _SECONDS and isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value)
    if key in _TAGS and isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        return value[0]
    return channel_of(value) if key == "channel" else value


def unusable(data: bytes) -> tuple[str, str] | None:
    """The first key that has, or whose value holds, what is no value, and what is wrong with it.

    Python's `json` and others write such things, and read them: NaN, numbers that are beyond all
    numbers, halves of characters.

    Args:
        data: what a strict decoder refused.

    Returns:
        The key, without such halves, and the reason; None if that is not the fault.
    """
    text = data.decode(errors="surrogateescape")  # what is not UTF-8 is half a character then
    is_utf_8 = _is_utf_8(data)
    try:
        keys = json.loads(text, parse_constant=_constant, parse_float=_float, parse_int=_integer)
        if isinstance(keys, dict):
            for key, value in keys.items():
                if (reason := _reason_in({key: value}, is_utf_8)) is not None:
                    return key.encode(errors="backslashreplace").decode(), reason
    except (ValueError, RecursionError):
        pass
    return None


class _Unusable(str):
    """What is wrong with the value in whose place it stands."""


_SURROGATE = re.compile("[\ud800-\udfff]")
#: What Python makes of a byte of a file name that is not UTF-8.
_BYTES = range(0xDC80, 0xDD00)
_NOT_UTF_8 = "is not UTF-8; encode it in UTF-8"
#: Digits of an integer beyond which Python reads none.
_MOST_DIGITS = 4300


def _is_utf_8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _constant(name: str) -> _Unusable:
    return _Unusable(f"is {name}, which is no JSON; leave the key out, or write null")


def _float(digits: str) -> float | _Unusable:
    return _too_large(digits) if math.isinf(float(digits)) else 0.0


def _integer(digits: str) -> int | _Unusable:
    return _too_large(digits) if len(digits) > _MOST_DIGITS else 0


def _too_large(digits: str) -> _Unusable:
    shown = digits if len(digits) <= 20 else f"{digits[:20]}..."
    return _Unusable(f"is {shown}, more than a number can be; write a smaller one")


def _half(surrogate: str, is_utf_8: bool) -> str:
    code = ord(surrogate)
    if code not in _BYTES:
        return f"has half a character (\\u{code:04x}), as a text does that was cut; write it whole"
    if not is_utf_8:
        return _NOT_UTF_8
    return (
        f"has a byte that is not UTF-8 (\\u{code:04x}), as Python writes it for file names; rename "
        "the file"
    )


def _reason_in(value: Any, is_utf_8: bool) -> str | None:
    """What is wrong with a value, or the first one in it."""
    if isinstance(value, _Unusable):
        return value
    if isinstance(value, str):
        found = _SURROGATE.search(value)
        return _half(found[0], is_utf_8) if found else None
    inner: Iterable[Any] = value if isinstance(value, list) else ()
    if isinstance(value, dict):
        inner = chain.from_iterable(value.items())
    reasons = (_reason_in(each, is_utf_8) for each in inner)
    return next(filter(None, reasons), None)
