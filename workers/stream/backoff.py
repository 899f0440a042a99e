"""Pauses between attempts."""

from __future__ import annotations

import random


class Backoff:
    """Exponential backoff with full jitter: uniform in [0, min(`longest_s`, `first_s` * 2^n)].

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    def __init__(self, first_s: float, longest_s: float, rng: random.Random | None = None) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._rng = rng or random.Random()

    def delay_s(self, attempt: int) -> float:
        """Seconds to wait after the `attempt`-th failure in a row (the first is 1)."""
        exponent = min(attempt - 1, 32)
        return self._rng.uniform(0.0, min(self._longest_s, self._first_s * 2.0**exponent))
