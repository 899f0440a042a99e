"""How a version of a registered model is named: ``NAME``, ``NAME@ALIAS`` or ``NAME:VERSION``."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

#: The alias of a name that says no more.
DEFAULT_ALIAS = "production"
#: In place of a version: the highest number.
LATEST = "latest"
#: In place of a version: the one that was made last, by the time in its card.
NEWEST = "newest"

_NAME = r"[a-z0-9][a-z0-9_.-]{0,62}"
REFERENCE_PATTERN = rf"^{_NAME}(@{_NAME}|:([1-9][0-9]{{0,8}}|{LATEST}|{NEWEST}))?$"
#: The text of a reference, in settings.
Reference = Annotated[str, msgspec.Meta(pattern=REFERENCE_PATTERN)]


class ModelReference(msgspec.Struct, frozen=True):
    """Names a version; either the alias or the version is set.

    Attributes:
        name: of the model.
        alias: which names a version that may change.
        version: a number, as text, or `LATEST` or `NEWEST`.
    """

    name: str
    alias: str | None = None
    version: str | None = None

    def __str__(self) -> str:
        if self.version is not None:
            return f"{self.name}:{self.version}"
        return f"{self.name}@{self.alias}"

    @property
    def moves(self) -> bool:
        """Whether it may name another version later."""
        return self.version is None or not self.version.isdecimal()


def parse_reference(text: str) -> ModelReference:
    """The reference that `text` is.

    Raises:
        ValueError: it is none; the message says how one looks.
    """
    if not re.fullmatch(REFERENCE_PATTERN, text):
        raise ValueError(
            f"`{text}` names no model: write NAME, NAME@ALIAS or NAME:VERSION, where the version "
            f"is a number, `{LATEST}` or `{NEWEST}`, and names have a-z, 0-9, _ . -"
        )
    name, colon, version = text.partition(":")
    if colon:
        return ModelReference(name, version=version)
    name, _, alias = text.partition("@")
    return ModelReference(name, alias=alias or DEFAULT_ALIAS)


def followed_alias(text: str | None) -> ModelReference | None:
    """The reference that `text` is, if it names an alias; None otherwise."""
    reference = parse_reference(text) if text is not None else None
    return reference if reference is not None and reference.alias is not None else None
