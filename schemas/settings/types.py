"""What the sections of the settings share: their base class, types of values, and the error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated

import msgspec

from schemas.settings.values import read_by
from schemas.shares import share_of

PositiveInt = Annotated[int, msgspec.Meta(ge=1)]
NonNegativeInt = Annotated[int, msgspec.Meta(ge=0)]
PositiveFloat = Annotated[float, msgspec.Meta(gt=0)]
NonNegativeFloat = Annotated[float, msgspec.Meta(ge=0)]
#: A part of all, more than none of it; `20%` is 0.2.
Probability = Annotated[float, read_by(share_of, gt=0, le=1)]
NAME_PATTERN = r"^[a-z0-9][a-z0-9_.-]{0,62}$"
Name = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]

#: The path of a key, or the part of it after the section's, and what is wrong with its value.
Fault = tuple[str, str]


class SettingsError(ValueError):
    """The settings file is wrong; the message names the file, the key and what to do."""


class Strict(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """An unknown key is an error: a typo must not become a default."""


def under(prefix: str, faults: Iterable[Fault]) -> Iterator[Fault]:
    """`faults` with `prefix` before their keys."""
    for key, reason in faults:
        yield prefix + key, reason
