"""The limits that stop the worker before it turns a whole topic into dead letters."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable


class DeadLetterLimit:
    """Watches the share and the runs of dead letters, in the order of commits.

    Asked before every commit; a commit that would cross a limit must not be made. So the records
    of the flood keep their offsets, and are read again once the cause is mended.

    Args:
        ratio: largest share of dead letters among the last `window` records; looked at once that
            many have been seen.
        consecutive: a run of this many dead letters is too long.
    """

    def __init__(self, ratio: float, window: int, consecutive: int) -> None:
        self._ratio = ratio
        self._consecutive = consecutive
        self._recent: deque[bool] = deque(maxlen=window)
        self._run = 0

    def exceeded(self, dead: Iterable[bool]) -> str | None:
        """Which limit the next records would cross, in words; None if they may be committed.

        Args:
            dead: for each record of the commit, in order, whether it is a dead letter.
        """
        return self._count(dead, deque(self._recent, self._recent.maxlen))[0]

    def accept(self, dead: Iterable[bool]) -> None:
        """Count records that were committed."""
        _, self._run = self._count(dead, self._recent)

    def _count(self, dead: Iterable[bool], recent: deque[bool]) -> tuple[str | None, int]:
        run = self._run
        total = sum(recent)
        window = recent.maxlen or 0
        reason = None
        for flag in dead:
            run = run + 1 if flag else 0
            if len(recent) == window:
                total -= recent[0]
            recent.append(flag)
            total += flag
            if reason is None and run >= self._consecutive:
                reason = (
                    f"{run} records in a row would be dead letters "
                    f"(stream.max_consecutive_dead_letters is {self._consecutive})"
                )
            if reason is None and len(recent) == window and total > self._ratio * window:
                reason = (
                    f"{total} of the last {window} records would be dead letters "
                    f"(stream.max_dead_letter_ratio is {self._ratio:g})"
                )
        return reason, run
