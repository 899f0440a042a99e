"""Parse an untrusted YAML file into plain data: mappings, lists, strings, numbers and null."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import yaml

from serve_app.engines.errors import EngineError, shown

#: Most levels of nesting; the configurations of NeMo's models have six.
MAX_DEPTH = 32
#: Most values in a configuration. The largest vocabularies have 256,000 tokens, and appear twice.
MAX_VALUES = 1_000_000


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads scalars as OmegaConf, and so NeMo, does; libyaml is ten times as fast as Python.

    Without numbers in base 60, which take quadratic time, and merge keys.
    """

    yaml_implicit_resolvers: ClassVar[dict[Any, Any]] = {}


#: The pattern of a scalar of each type, and its possible first characters.
_SCALARS = {
    "null": (r"(~|null|Null|NULL|)", ["~", "n", "N", ""]),
    "bool": (
        r"(yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)",
        "yYnNtTfFoO",
    ),
    "int": (
        r"[-+]?(0b[01_]{1,64}|0[0-7_]{0,30}|[1-9][0-9_]{0,30}|0x[0-9a-fA-F_]{1,30})",
        "-+0123456789",
    ),
    "float": (
        r"([-+]?[0-9][0-9_]{0,60}(\.[0-9_]{0,60}([eE][-+]?[0-9]{1,10})?|[eE][-+]?[0-9]{1,10})"
        r"|\.[0-9_]{1,60}([eE][-+][0-9]{1,10})?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))",
        "-+0123456789.",
    ),
}
for _tag, (_pattern, _starts) in _SCALARS.items():
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^{_pattern}$"), list(_starts)
    )


def parse_yaml(text: str) -> dict[Any, Any]:
    """Parse a mapping in YAML.

    Raises:
        EngineError: it is not a mapping in YAML, has tags, has aliases (one may expand to
            millions of values), or more than `MAX_VALUES` values or `MAX_DEPTH` levels.
    """
    try:
        _check_events(text)
        config = _parse(text)
    except EngineError:
        raise
    except Exception as error:  # damaged or hostile texts make PyYAML raise anything
        raise EngineError(f"is not plain YAML: {str(error)[:300]}") from None
    if not isinstance(config, dict):
        raise EngineError("is not a mapping")
    return config


def _parse(text: str) -> Any:
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _check_events(text: str) -> None:
    depth = 0
    for number, event in enumerate(yaml.parse(text, _Loader)):
        if number > MAX_VALUES:
            raise EngineError(f"has more than {MAX_VALUES} values")
        if isinstance(event, yaml.AliasEvent):
            raise EngineError("contains YAML aliases")
        if (tag := getattr(event, "tag", None)) is not None:
            raise EngineError(f"contains a YAML tag, {shown(tag)}")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:  # checked here, because libyaml takes longer for each level
            raise EngineError(f"is nested more than {MAX_DEPTH} deep")


def check_plain(value: Any, place: str = "") -> None:
    """Refuse anything but mappings, lists, numbers, null and strings without interpolations.

    Args:
        value: a value of a configuration.
        place: its keys, joined by dots, for the message.

    Raises:
        EngineError: it has another value; the message names the place.
    """
    if isinstance(value, dict):
        for key, each in value.items():
            if not isinstance(key, str):
                raise EngineError(f"has a key that is not a string: {shown(key)}")
            check_plain(key, place)
            check_plain(each, f"{place}.{key}" if place else key)
    elif isinstance(value, list):
        for each in value:
            check_plain(each, place)
    elif isinstance(value, str):
        if "${" in value:
            raise EngineError(f"contains an interpolation (${{...}}), at {shown(place)}")
    elif value is not None and not isinstance(value, bool | int | float):
        raise EngineError(f"has a value of type {type(value).__name__} at {shown(place)}")
