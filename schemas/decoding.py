"""Say what msgspec's errors say, for people: the reason, the key, and what was probably meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import inspect as types

#: Most names that a message lists.
_MOST = 20


def reason_and_key(error: msgspec.ValidationError) -> tuple[str, str]:
    """What is wrong, and the path of the key at fault, such as ``rules[0].name``.

    The path is empty if the value as a whole is wrong. It has ``[...]`` for each key of a mapping,
    which msgspec does not name: ``models[...].path``; ``models[...]`` if the key itself is wrong.
    """
    reason, _, where = str(error).partition(" - at ")
    _, of_name, path = where.rpartition("`key` in ")
    path = path.strip("`").removeprefix("$").removeprefix(".")
    return reason, f"{path}[...]" if of_name else path


def nearest(name: str, known: Iterable[str]) -> str:
    """``did you mean `this`?`` for the known name that resembles `name`; else the known names."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"did you mean `{close[0]}`?"
    more = f" and {len(known) - _MOST} more" if len(known) > _MOST else ""
    return f"there are: {', '.join(known[:_MOST]) or 'none'}{more}"


def with_known(reason: str, key: str, whole: type) -> tuple[str, str]:
    """`reason` and `key` of a key or a value that does not exist, with those that do.

    Args:
        reason: of `reason_and_key`.
        key: of `reason_and_key`, with its ``[...]``.
        whole: the type that was decoded.

    Returns:
        For an unknown key its own path instead of that of the mapping that it is in. All else as
        it was given.
    """
    at = _type_at(whole, key)
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", reason, re.DOTALL):
        fields = [field.encode_name for kind in at for field in getattr(kind, "fields", ())]
        name = unknown[1]
        return f"no such key; {nearest(name, fields)}", f"{key}.{name}".removeprefix(".")
    if wrong := re.fullmatch(r"Invalid enum value (.*)", reason, re.DOTALL):
        values = [str(v) for kind in at for v in getattr(kind, "values", ())]
        return f"no such value: {wrong[1]}; {nearest(wrong[1].strip(chr(39)), values)}", key
    return reason, key


def _type_at(whole: type, key: str) -> list[types.Type]:
    """The types that the value at `key` may have."""
    found = _members(types.type_info(whole))
    for part in re.findall(r"\[[^\]]*\]|[^.\[\]]+", key):
        found = [inner for kind in found for inner in _within(kind, part)]
    return found


def _within(kind: Any, part: str) -> list[types.Type]:
    match kind:
        case types.StructType(fields=fields):
            inner = [field.type for field in fields if field.encode_name == part]
        case types.DictType(value_type=value):
            inner = [value]
        case types.ListType(item_type=item):
            inner = [item]
        case _:
            inner = []
    return [member for each in inner for member in _members(each)]


def _members(kind: types.Type) -> list[types.Type]:
    if isinstance(kind, types.Metadata):
        return _members(kind.type)
    if isinstance(kind, types.UnionType):
        return [member for each in kind.types for member in _members(each)]
    return [kind]
