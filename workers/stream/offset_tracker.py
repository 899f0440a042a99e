"""Which offsets may be committed: one queue of delivered messages per partition.

A commit says "everything below this offset is done", so it may only reach as far as the first
message that is not. Offsets are not adjacent (transaction markers take one each, compaction
leaves holes), hence the next *delivered* offset counts, never offset + 1, except at the end.

With each offset goes the leader epoch of the last message before it (KIP-320): by that the broker
can tell whether its log was cut off below the offset and written again.

Every assignment of a partition has an epoch. What was delivered in an earlier one belongs to
nobody here any more: another worker may already have done it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from kafka import OffsetAndMetadata, TopicPartition

from workers.stream.pending_record import PendingRecord


@dataclass(slots=True)
class _Partition:
    epoch: int
    #: delivered; starts with the first message without an outcome
    pending: deque[PendingRecord] = field(default_factory=deque)
    #: the completed prefix, in order
    ready: list[PendingRecord] = field(default_factory=list)
    #: offset after all that was delivered; None until `start`
    end: int | None = None
    #: leader epoch of the last message before `end`; -1 where it is not known
    end_epoch: int = -1
    #: the same of the completed prefix
    done_epoch: int = -1
    #: offset last handed out for a commit
    taken_to: int | None = None
    #: goes with every offset that is committed
    metadata: str = ""
    #: delivered and not yet committed
    count: int = 0
    size: int = 0


@dataclass(slots=True)
class CompletedPrefix:
    """The records at the head of each partition that are all done, handed out for one commit.

    Attributes:
        records: its messages, in order within each partition.
        offsets: per partition the offset to commit (the first one that is *not* done), with the
            id of its topic as metadata.
    """

    records: list[PendingRecord]
    offsets: dict[TopicPartition, OffsetAndMetadata]


class OffsetTracker:
    """The delivered and not yet committed messages of every assigned partition.

    Not thread-safe, but `current` may be asked from any thread.

    Attributes:
        pending_records: messages delivered and not committed, over all partitions.
        pending_bytes: bytes of their values.
    """

    def __init__(self) -> None:
        self._partitions: dict[TopicPartition, _Partition] = {}
        self._epoch = 0
        self.pending_records = 0
        self.pending_bytes = 0

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Begin a new epoch of each of `partitions`; what it still held is forgotten.

        Nothing of a partition may be delivered before `start`.
        """
        for tp in partitions:
            self.revoke([tp])
            self._epoch += 1
            self._partitions[tp] = _Partition(self._epoch)

    @property
    def unstarted(self) -> list[TopicPartition]:
        """The assigned partitions for which `start` has not been called."""
        return [tp for tp, state in self._partitions.items() if state.end is None]

    def start(self, tp: TopicPartition, at: OffsetAndMetadata) -> None:
        """Say where the reading of `tp` begins: at its committed offset, or at 0 without one.

        Args:
            tp: an assigned partition.
            at: the offset, the leader epoch of the message before it (-1: not known), and the
                metadata that goes with every offset that will be committed.
        """
        state = self._partitions[tp]
        state.end = state.taken_to = at.offset
        state.end_epoch = state.done_epoch = at.leader_epoch
        state.metadata = at.metadata

    def revoke(self, partitions: Iterable[TopicPartition]) -> None:
        """Forget `partitions` and what they held; later results of theirs are stale."""
        for tp in partitions:
            state = self._partitions.pop(tp, None)
            if state is not None:
                self.pending_records -= state.count
                self.pending_bytes -= state.size

    @property
    def assigned(self) -> Collection[TopicPartition]:
        """The partitions that are tracked."""
        return self._partitions.keys()

    def oldest_s(self, now: float) -> float | None:
        """Age in seconds of the oldest record that is not committed; from any thread.

        By the timestamps in Kafka, each partition's first record standing for all of its own; None
        where there is none, or it has no timestamp.

        Args:
            now: Unix time in seconds.
        """
        firsts = [
            queue[0].message.timestamp
            for state in list(self._partitions.values())
            for queue in (list(state.ready[:1]) or list(state.pending)[:1],)
            if queue
        ]
        known = [timestamp for timestamp in firsts if timestamp > 0]
        return max(0.0, now - min(known) / 1e3) if known else None

    def pending(self, tp: TopicPartition) -> tuple[int, int]:
        """Records and bytes of `tp` that were delivered and not committed."""
        state = self._partitions[tp]
        return state.count, state.size

    def ready(self, tp: TopicPartition) -> int:
        """Records of `tp` that a commit made now would cover."""
        return len(self._partitions[tp].ready)

    def current(self, record: PendingRecord) -> bool:
        """Whether `record` belongs to the present assignment of its partition."""
        state = self._partitions.get(record.partition)
        return state is not None and state.epoch == record.epoch

    def deliver(self, record: PendingRecord) -> None:
        """Take in the next message of its partition; sets its epoch.

        Raises:
            KeyError: the partition is not assigned.
            ValueError: it is not started, or the offset is below one that was delivered before.
        """
        state = self._partitions[record.partition]
        if state.end is None:
            raise ValueError(f"{record.name} delivered before the start of its partition")
        if record.offset < state.end:
            raise ValueError(f"{record.name} delivered again, or out of order")
        record.epoch = state.epoch
        state.pending.append(record)
        state.end = record.offset + 1
        state.end_epoch = record.leader_epoch
        state.count += 1
        state.size += record.size
        self.pending_records += 1
        self.pending_bytes += record.size

    def advance(self, tp: TopicPartition, position: OffsetAndMetadata) -> bool:
        """The consumer stands at `position`: nothing is left to deliver below it.

        Where markers or holes follow the last message, this lets a commit reach behind them, so
        that the group's lag goes to zero. Returns whether it does.
        """
        state = self._partitions[tp]
        if state.end is None or position.offset <= state.end:
            return False
        state.end = position.offset
        state.end_epoch = position.leader_epoch
        return True

    def complete(self, record: PendingRecord) -> bool:
        """Count the outcome of `record`; False where it is stale or was counted before."""
        if record.done or not self.current(record):
            return False
        record.done = True
        state = self._partitions[record.partition]
        while state.pending and state.pending[0].done:
            state.done_epoch = state.pending[0].leader_epoch
            state.ready.append(state.pending.popleft())
        return True

    def committable(self, tp: TopicPartition) -> OffsetAndMetadata | None:
        """Offset up to which (exclusive) everything delivered is done; None before `start`."""
        state = self._partitions[tp]
        if state.end is None:
            return None
        if state.pending:
            return OffsetAndMetadata(state.pending[0].offset, state.metadata, state.done_epoch)
        return OffsetAndMetadata(state.end, state.metadata, state.end_epoch)

    def take(self, partitions: Iterable[TopicPartition] | None = None) -> CompletedPrefix:
        """Hand out the completed prefixes of `partitions` (all by default) for a commit.

        They count as pending until `settle`.
        """
        prefix = CompletedPrefix([], {})
        for tp in list(self._partitions if partitions is None else partitions):
            state = self._partitions.get(tp)
            at = None if state is None else self.committable(tp)
            if state is None or at is None:
                continue
            passed_markers = not state.pending and at.offset != state.taken_to
            if state.ready or passed_markers:
                prefix.records += state.ready
                prefix.offsets[tp] = at
                state.ready = []
                state.taken_to = at.offset
        return prefix

    def settle(self, prefix: CompletedPrefix) -> None:
        """Count the records of `prefix` as committed: they are no longer pending."""
        for record in prefix.records:
            state = self._partitions.get(record.partition)
            if state is not None and state.epoch == record.epoch:
                state.count -= 1
                state.size -= record.size
                self.pending_records -= 1
                self.pending_bytes -= record.size
