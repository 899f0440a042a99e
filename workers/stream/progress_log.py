"""Log lines that say how many records a worker commits, and how fast."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from workers.stream.commit_cycle import CommitTotals

log = logging.getLogger(__name__)

#: Seconds from one line to the next.
INTERVAL_S = 30.0


class ProgressLog:
    """Logs a line per interval in which records were committed; an idle worker is silent.

    Args:
        totals: what has been committed, counted up by somebody else.
        pending: how many records are delivered and not committed.
        clock: monotonic time in seconds.
    """

    def __init__(
        self,
        totals: CommitTotals,
        pending: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._totals = totals
        self._pending = pending
        self._clock = clock
        self._since = clock()
        self._before = 0

    def turn(self) -> None:
        """Log a line if it is time, and something was committed since the last one. Cheap."""
        now = self._clock()
        seconds = now - self._since
        if seconds < INTERVAL_S:
            return
        done = self._done()
        if done > self._before:
            rate = (done - self._before) / seconds
            log.info("%s: %.1f records a second, %d pending", self.told(), rate, self._pending())
        self._since, self._before = now, done

    def told(self) -> str:
        """What was committed since the start, in words."""
        letters = self._totals.dead_lettered
        return f"{self._totals.transcribed} transcribed, {letters} dead-lettered"

    def _done(self) -> int:
        return self._totals.transcribed + self._totals.dead_lettered
