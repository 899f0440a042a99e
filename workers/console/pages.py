"""What a page of the console is.

A page is a package or a module beside this one, with a `PAGE` that `all_pages` lists.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from litestar import Litestar

from schemas.settings import Role

Hook = Callable[[Litestar], Awaitable[None]]


@dataclass(frozen=True)
class Page:
    """A page and everything that it answers.

    Attributes:
        title: in the navigation; None for pages that others lead to.
        path: where it begins.
        role: what a user needs to see it in the navigation. Each handler has a guard of its own.
        handlers: of Litestar.
        start, stop: called with the application when it starts and ends; None for nothing.
    """

    title: str | None
    path: str
    role: Role
    handlers: Sequence[Any]
    start: Hook | None = None
    stop: Hook | None = None
