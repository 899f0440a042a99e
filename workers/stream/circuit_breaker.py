"""The circuit breaker: no calls and no fetching while the backend is down."""

from __future__ import annotations

from enum import StrEnum

from workers.stream.backoff import Backoff


class BreakerState(StrEnum):
    """Whether calls go through: all, none, or one as a trial."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class CircuitBreaker:
    """Opens after `failures` failed calls in a row. Pure: the time is an argument.

    While open, the caller probes when `probe_due`. A good probe half-opens it: one call goes
    through as a trial. A good trial closes it, a failed one opens it again, for longer. A call
    that began before it opened and ends well closes it too: the backend works.
    """

    def __init__(self, failures: int, backoff: Backoff) -> None:
        self._limit = failures
        self._backoff = backoff
        self._failures = 0
        self._openings = 0
        self._probe_at = 0.0
        self.state = BreakerState.CLOSED

    def succeeded(self) -> None:
        """A call has finished records: the breaker closes."""
        self._failures = 0
        self._openings = 0
        self.state = BreakerState.CLOSED

    def failed(self, now: float) -> None:
        """A call failed as a whole: the breaker opens after enough of them in a row."""
        self._failures += 1
        if self.state is BreakerState.HALF_OPEN or (
            self.state is BreakerState.CLOSED and self._failures >= self._limit
        ):
            self._open(now)

    def probe_due(self, now: float) -> bool:
        """Whether it is time for the next probe."""
        return self.state is BreakerState.OPEN and now >= self._probe_at

    def wait_s(self, now: float) -> float:
        """Seconds until the next probe."""
        return max(0.0, self._probe_at - now)

    def probed(self, alive: bool, now: float) -> None:
        """The result of a probe; without effect unless open."""
        if self.state is not BreakerState.OPEN:
            return
        if alive:
            self.state = BreakerState.HALF_OPEN
        else:
            self._open(now)

    def _open(self, now: float) -> None:
        self.state = BreakerState.OPEN
        self._openings += 1
        self._probe_at = now + self._backoff.delay_s(self._openings)
