"""The processes whose calls a replica works on: calls of those that have ended are given up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

logger = logging.getLogger(__name__)

#: How often it is looked which callers live, in seconds, while there are calls.
_LOOK_S = 2.0


class Callers:
    """Cancels the calls of processes that have ended, which Ray itself lets run on.

    Belongs to one event loop.

    Args:
        ended: which of some callers have ended; blocks. The names are those of
            `ray_adapter.own_name`.
    """

    def __init__(self, ended: Callable[[Collection[str]], set[str]]) -> None:
        self._ended = ended
        self._calls: dict[str, set[asyncio.Task[Any]]] = {}
        self._watch: asyncio.Task[None] | None = None

    @contextmanager
    def call_of(self, caller: str | None) -> Iterator[None]:
        """Within the block, this task works for `caller`, and is cancelled if that has ended.

        None for a caller that does not say who it is: nothing is done.
        """
        task = asyncio.current_task()
        if caller is None or task is None:
            yield
            return
        self._calls.setdefault(caller, set()).add(task)
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._look())
        try:
            yield
        finally:
            calls = self._calls[caller]
            calls.discard(task)
            if not calls:
                del self._calls[caller]

    async def _look(self) -> None:
        while self._calls:
            await asyncio.sleep(_LOOK_S)
            try:
                ended = await asyncio.to_thread(self._ended, list(self._calls))
            except Exception as error:  # Ray does not answer
                logger.warning("the callers cannot be looked up: %s", type(error).__name__)
                continue
            for caller in ended & self._calls.keys():
                calls = self._calls[caller]
                logger.info("a caller has ended; %d calls of it are given up", len(calls))
                for call in calls:
                    call.cancel()
