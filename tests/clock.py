"""A clock that stands still until it is set."""

from __future__ import annotations


class Clock:
    """In place of `time.monotonic`.

    Args:
        now: seconds; may be set.
    """

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
