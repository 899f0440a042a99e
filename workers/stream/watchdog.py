"""Ends the process when a call that has no timeout of its own hangs."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from workers import exit_codes

log = logging.getLogger(__name__)


def end_process(what: str, seconds: float) -> None:
    """Say which call hung, and end the process with `exit_codes.RESTART`.

    A hung thread cannot be stopped from inside, and nothing is lost: what was not committed is
    read again.
    """
    log.critical(
        "%s has not returned for %.0f s; ending the process, start it again", what, seconds
    )
    logging.shutdown()
    os._exit(exit_codes.RESTART)


class Watchdog:
    """Watches guarded calls from a thread of its own.

    Args:
        limit_s: longest time that a guarded call may take.
        on_hang: called once with the call's name and its age in seconds.

    Attributes:
        limit_s: as given.
    """

    def __init__(self, limit_s: float, on_hang: Callable[[str, float], None] = end_process) -> None:
        self.limit_s = limit_s
        self._on_hang = on_hang
        self._calls: dict[int, tuple[str, float]] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stream-watchdog", daemon=True)
        self._thread.start()

    @contextmanager
    def guard(self, what: str) -> Iterator[None]:
        """Watch the body. One guard at a time in each thread."""
        thread = threading.get_ident()
        self._calls[thread] = (what, time.monotonic())
        try:
            yield
        finally:
            self._calls.pop(thread, None)

    def stop(self) -> None:
        """Watch no more."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(min(1.0, self.limit_s / 4)):
            now = time.monotonic()
            for what, since in list(self._calls.values()):
                if now - since > self.limit_s:
                    self._on_hang(what, now - since)
                    return
