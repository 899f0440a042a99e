"""`models.NAME.options` of the engines that are built in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from schemas.decoding import reason_and_key, with_known
from serve_app.engines.errors import EngineError


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """None; what an engine takes is in a class of its own."""


Kind = TypeVar("Kind", bound=Options)


def read_options(options: Mapping[str, Any], kind: type[Kind]) -> Kind:
    """The options of the settings.

    Raises:
        EngineError: there is no such option, or its value cannot be.
    """
    try:
        return msgspec.convert(dict(options), kind)
    except msgspec.ValidationError as error:
        reason, key = with_known(*reason_and_key(error), kind)
        raise EngineError(f"{f'options.{key}'.removesuffix('.')}: {reason}") from error
