"""When a commit is due. Pure: the time comes from a clock that is given."""

from __future__ import annotations

from collections.abc import Callable

from schemas.settings import StreamSettings
from workers.stream.backpressure import Backpressure
from workers.stream.offset_tracker import OffsetTracker


class CommitSchedule:
    """A commit is due some time after the first result, once there are many, or once there are all.

    Args:
        stream: `commit_interval_s`, `commit_idle_s`, `commit_records` and `max_pending_records`.
        tracker: knows how many results are ready, and how many are missing.
        backpressure: knows a partition's share.
        clock: monotonic time in seconds.
    """

    def __init__(
        self,
        stream: StreamSettings,
        tracker: OffsetTracker,
        backpressure: Backpressure,
        clock: Callable[[], float],
    ) -> None:
        self._interval_s = stream.commit_interval_s
        self._idle_s = stream.commit_idle_s
        self._early = min(stream.commit_records, stream.max_pending_records // 2)
        self._tracker = tracker
        self._backpressure = backpressure
        self._clock = clock
        self._ready_since: float | None = None

    def result_ready(self) -> None:
        """There is something to commit; the time begins with the first such call."""
        if self._ready_since is None:
            self._ready_since = self._clock()

    def begin(self) -> None:
        """A commit takes all that is ready, or it was forgotten: wait for the next result."""
        self._ready_since = None

    @property
    def due(self) -> bool:
        """Whether a commit should be made now."""
        if self._ready_since is None:
            return False
        waited = self._clock() - self._ready_since
        if waited >= self._interval_s:
            return True
        ready = [self._tracker.ready(tp) for tp in self._tracker.assigned]
        total = sum(ready)
        if waited >= self._idle_s and total == self._tracker.pending_records:
            return True
        # a partition that may not fetch until its results are committed does not wait either
        share = self._backpressure.share
        return total >= self._early or any(count >= share // 2 for count in ready)
