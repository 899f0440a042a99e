"""What a section of an untrusted configuration may hold; all raise `EngineError`."""

from __future__ import annotations

import re
from typing import Any

from serve_app.engines.errors import EngineError, shown

#: Longest list. The longest ones are alphabets of models that write single characters.
MAX_LIST = 20_000

#: Keys that Hydra and NeMo interpret anywhere in a configuration.
_INTERPRETED = re.compile(r"_.*_|cls|params|target")


def plain(value: Any, place: str) -> Any:
    """A copy of `value`, checked to have no interpreted keys at any depth."""
    if isinstance(value, dict):
        made = {}
        for key, each in value.items():
            at = f"{place}.{key}"
            refuse_interpreted(key, at)
            made[key] = plain(each, at)
        return made
    if isinstance(value, list):
        _check_length(value, place)
        return [plain(each, place) for each in value]
    return value


def values(value: Any, place: str) -> Any:
    """A copy of `value`, checked to have no mappings."""
    if isinstance(value, list):
        _check_length(value, place)
        return [values(each, place) for each in value]
    if isinstance(value, dict):
        plain(value, place)  # if it names a class, report that instead
        raise EngineError(f"{place} is a mapping, but must be a value or a list")
    return value


def _check_length(value: list[Any], place: str) -> None:
    if len(value) > MAX_LIST:  # NeMo copies lists many times
        raise EngineError(f"{place} has more than {MAX_LIST} values")


def mapping(value: Any, place: str) -> dict[str, Any]:
    """`value`, checked to be a mapping."""
    if not isinstance(value, dict):
        raise EngineError(f"{place} is not a mapping")
    return value


def refuse_interpreted(key: str, place: str) -> None:
    """Refuse a key that Hydra or NeMo would act upon."""
    if _INTERPRETED.fullmatch(key):
        raise EngineError(f"{shown(place)} is not allowed: nothing is instantiated there")
