"""What a stream worker does when the group gives partitions to it or takes them away."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from kafka import AsyncConsumerRebalanceListener, TopicPartition

from workers.stream.commit_cycle import CommitCycle
from workers.stream.offset_tracker import OffsetTracker

log = logging.getLogger(__name__)


class RebalanceListener(AsyncConsumerRebalanceListener):
    """Keeps the tracker in line with the assignment, and commits before a partition goes away.

    kafka-python calls it on the consumer's network thread while the poll thread waits inside
    `poll`, so nothing here runs at the same time as the poll loop. The consumer's blocking calls
    raise here.

    Args:
        tracker: of the assigned partitions.
        cycle: commits what is done.
        collect: takes in the records that are finished.
        forget_stale: called after the tracker has forgotten partitions, so that others do too.
        timeout_s: longest wait for the commit. Heartbeats rest meanwhile, so it must be well
            below the session timeout.
    """

    def __init__(
        self,
        tracker: OffsetTracker,
        cycle: CommitCycle,
        collect: Callable[[], None],
        forget_stale: Callable[[], None],
        timeout_s: float,
    ) -> None:
        self._tracker = tracker
        self._cycle = cycle
        self._collect = collect
        self._forget_stale = forget_stale
        self._timeout_s = timeout_s

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """The worker may read `assigned`."""
        self._tracker.assign(assigned)
        log.info("assigned: %s", _names(assigned))

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """The worker gives `revoked` up; what is done of them is committed first."""
        partitions = list(revoked)
        try:
            self._cycle.hand_over(partitions, self._collect, self._timeout_s)
        finally:
            self._forget(partitions)
        log.info("revoked: %s", _names(partitions))

    async def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        """Somebody else has `lost` already: commit nothing."""
        partitions = list(lost)
        self._forget(partitions)
        log.warning("lost: %s", _names(partitions))

    def _forget(self, partitions: list[TopicPartition]) -> None:
        self._tracker.revoke(partitions)
        self._forget_stale()


def _names(partitions: Iterable[TopicPartition]) -> str:
    return ", ".join(f"{tp.topic}-{tp.partition}" for tp in sorted(partitions))
