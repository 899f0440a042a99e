"""What an examination found."""

from __future__ import annotations

from typing import Literal

import msgspec

State = Literal["ok", "warning", "failure"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was examined.

    Attributes:
        name: what was examined, in a word or two.
        state: "failure" if something does not work, "warning" if it may be worse than it need be,
            or was not examined.
        said: what was found, in a sentence without a full stop.
        cause: the likely cause; empty if all is well, or `said` tells it.
        next: what to do; empty if all is well.
    """

    name: str
    state: State
    said: str
    cause: str = ""
    next: str = ""


def ok(name: str, said: str) -> Finding:
    """All is well."""
    return Finding(name=name, state="ok", said=said)


def warning(name: str, said: str, *, cause: str = "", next: str) -> Finding:
    """Something is to be looked at."""
    return Finding(name=name, state="warning", said=said, cause=cause, next=next)


def failure(name: str, said: str, *, cause: str = "", next: str) -> Finding:
    """Something does not work."""
    return Finding(name=name, state="failure", said=said, cause=cause, next=next)
