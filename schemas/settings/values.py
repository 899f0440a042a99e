"""Values that can be written in more than one way, such as `20%` for 0.2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import inspect

_READS = "reads"
_ANY = inspect.AnyType()


def read_by(function: Callable[[Any], Any], **constraints: Any) -> msgspec.Meta:
    """What a type is annotated with whose values are read by `function`, and then checked.

    Args:
        function: from a value to another; one that it does not know comes back unchanged.
        constraints: those of `msgspec.Meta`.
    """
    return msgspec.Meta(extra={_READS: function}, **constraints)


def as_read(value: Any, struct: type[msgspec.Struct]) -> Any:
    """`value`, plain data for `struct`, with all that is read by a function of its own."""
    return _read(value, inspect.type_info(struct))


def _read(value: Any, kind: inspect.Type) -> Any:
    if isinstance(kind, inspect.Metadata):
        function = (kind.extra or {}).get(_READS)
        return _read(value if function is None else function(value), kind.type)
    if isinstance(kind, inspect.UnionType):
        for member in kind.types:
            value = _read(value, member)
    elif isinstance(kind, inspect.StructType) and isinstance(value, dict):
        kinds = {field.encode_name: field.type for field in kind.fields}
        return {key: _read(each, kinds.get(key, _ANY)) for key, each in value.items()}
    elif isinstance(kind, inspect.DictType) and isinstance(value, dict):
        return {key: _read(each, kind.value_type) for key, each in value.items()}
    elif isinstance(kind, inspect.ListType) and isinstance(value, list):
        return [_read(each, kind.item_type) for each in value]
    return value
