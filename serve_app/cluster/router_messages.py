"""What `router_link` and `router_process` send each other."""

from __future__ import annotations

from typing import Any

import msgspec


class Join(msgspec.Struct, frozen=True):
    """Where the process is to connect to before it is told the application."""

    address: str


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """What the process is to connect to.

    Attributes:
        app: name of the Serve application.
        settings: `settings_digest` of the settings that the application must have.
        address: of the Ray cluster.
        timeout_s: longest wait for a call of the Router.
    """

    app: str
    settings: str
    address: str
    timeout_s: float


class Call(msgspec.Struct, frozen=True):
    """A call of a method of `RouterClient`; `method` "cancel" gives up the call of that number."""

    number: int
    method: str
    arguments: tuple[Any, ...] = ()


class Answer(msgspec.Struct, frozen=True):
    """The result of a call, or its failure as a sentence."""

    number: int
    result: Any = None
    failure: str | None = None
