"""What the docstrings of the contracts say about each of their keys.

The ``Attributes:`` section of a Struct's docstring is the only place where the meaning of a key is
written. The published JSON Schemas and the page about the settings take their texts from it.
"""

from __future__ import annotations

import inspect
import re

import msgspec
from msgspec import inspect as types

_ENTRY = re.compile(r" {4}(?P<names>\w+(?:, \w+)*): (?P<text>.*)")
_CONTINUED = " " * 8


def summary(struct: type[msgspec.Struct]) -> str:
    """The docstring of `struct` before its ``Attributes:`` section."""
    return _sections(struct)[0]


def attributes(struct: type[msgspec.Struct]) -> dict[str, str]:
    """The text of each attribute that the docstring of `struct` describes, as a sentence."""
    texts: dict[str, str] = {}
    names: list[str] = []
    for line in _sections(struct)[1].splitlines():
        if entry := _ENTRY.fullmatch(line):
            names = entry["names"].split(", ")
            texts.update(dict.fromkeys(names, entry["text"]))
        elif line.startswith(_CONTINUED):
            for name in names:
                texts[name] += f" {line.strip()}"
        elif line:
            raise ValueError(f"{struct.__name__}: neither an attribute nor its text: {line!r}")
    return {name: text[0].upper() + text[1:] for name, text in texts.items()}


def structs_within(struct: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    """`struct` and all Structs that its fields hold, directly or not, each once."""
    found: list[type[msgspec.Struct]] = []
    pending: list[types.Type] = [types.type_info(struct)]
    while pending:
        match pending.pop(0):
            case types.StructType(cls=cls, fields=fields) if cls not in found:
                found.append(cls)
                pending.extend(field.type for field in fields)
            case types.UnionType(types=members):
                pending.extend(members)
            case types.ListType(item_type=item):
                pending.append(item)
            case types.DictType(value_type=value):
                pending.append(value)
    return found


def _sections(struct: type[msgspec.Struct]) -> tuple[str, str]:
    text, _, section = inspect.cleandoc(struct.__doc__ or "").partition("\n\nAttributes:\n")
    return text, section
