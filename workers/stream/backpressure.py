"""Backpressure: how much more may be fetched, and from which partitions. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Collection

from kafka import TopicPartition

from schemas.settings import StreamSettings
from workers.stream.offset_tracker import OffsetTracker

#: Most records that one poll brings, whatever the limits allow.
MAX_POLL_RECORDS = 500
#: A paused partition resumes once less than this part of its share is pending, and ...
_RESUME_BELOW = 0.5
#: ... less than this part of the limits over all partitions.
_RESUME_BELOW_IN_ALL = 0.75
#: Weight of one record in the moving average of the record size.
_SIZE_WEIGHT = 1 / 16


class Backpressure:
    """Keeps the pending records within `max_pending_records` and `max_pending_bytes`.

    Each partition may have a share of both, so that a partition whose first record is stuck
    leaves room for the others. It pauses at its share and resumes at half of it.

    Args:
        stream: the limits, and `batch_records`.
        tracker: counts what is pending.
    """

    def __init__(self, stream: StreamSettings, tracker: OffsetTracker) -> None:
        self._max_records = stream.max_pending_records
        self._max_bytes = stream.max_pending_bytes
        self._batch_records = stream.batch_records
        self._tracker = tracker
        # before the first record: as if one batch filled the limit, so the first poll is small
        self._mean_bytes = max(1.0, self._max_bytes / self._batch_records)

    def observe(self, size: int) -> None:
        """Take the size of a delivered record, in bytes, into the moving average."""
        self._mean_bytes += (size - self._mean_bytes) * _SIZE_WEIGHT

    @property
    def share(self) -> int:
        """Records that one partition may have pending: at least two batches."""
        partitions = max(1, len(self._tracker.assigned))
        fair = self._max_records // partitions
        return min(max(fair, 2 * self._batch_records), self._max_records)

    @property
    def room(self) -> int:
        """Records that the next poll may bring, at least 1. They may all be of one partition."""
        records = self._max_records - self._tracker.pending_records
        by_size = (self._max_bytes - self._tracker.pending_bytes) / self._mean_bytes
        return max(1, min(self.share, records, int(by_size), MAX_POLL_RECORDS))

    def to_pause(
        self, assigned: Collection[TopicPartition], paused: Collection[TopicPartition]
    ) -> set[TopicPartition]:
        """Those of the `assigned` partitions that may not be fetched now.

        Args:
            assigned: all partitions of this worker.
            paused: those that are paused already; they resume later than they paused.
        """
        return {tp for tp in assigned if self._full(tp, tp in paused)}

    def _full(self, tp: TopicPartition, paused: bool) -> bool:
        if tp not in self._tracker.assigned:
            return False
        scale = _RESUME_BELOW if paused else 1.0
        scale_in_all = _RESUME_BELOW_IN_ALL if paused else 1.0
        share = self.share
        share_bytes = self._max_bytes * share / self._max_records
        records, size = self._tracker.pending(tp)
        return (
            records >= share * scale
            or size >= share_bytes * scale
            or self._tracker.pending_records >= self._max_records * scale_in_all
            or self._tracker.pending_bytes >= self._max_bytes * scale_in_all
        )
