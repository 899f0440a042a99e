"""Which offsets may be committed: one queue of delivered messages per partition.

A commit says "everything below this offset is done", so it may only reach as far as the first
message that is not. Offsets are not adjacent (transaction markers take one each, compaction
leaves holes), hence the next *delivered* offset counts, never offset + 1, except at the end.

Every assignment of a partition has an epoch. What was delivered in an earlier one belongs to
nobody here any more: another worker may already have done it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from kafka import TopicPartition

from workers.stream.work import Work


@dataclass(slots=True)
class _Partition:
    epoch: int
    #: delivered; starts with the first message without an outcome
    pending: deque[Work] = field(default_factory=deque)
    #: the completed prefix, in order
    ready: list[Work] = field(default_factory=list)
    #: offset after all that was delivered; None while nothing was
    end: int | None = None
    #: offset last handed out for a commit
    taken_to: int | None = None
    #: delivered and not yet committed
    records: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Taken:
    """A completed prefix, handed out for one commit.

    Attributes:
        works: its messages, in order within each partition.
        offsets: per partition the offset to commit (the first one that is *not* done).
        epochs: per partition the epoch that `offsets` belongs to.
    """

    works: list[Work]
    offsets: dict[TopicPartition, int]
    epochs: dict[TopicPartition, int]


class OffsetTracker:
    """The delivered and not yet committed messages of every assigned partition. Not thread-safe,
    but `current` may be asked from any thread."""

    def __init__(self) -> None:
        self._partitions: dict[TopicPartition, _Partition] = {}
        self._epoch = 0
        self.records = 0
        self.bytes = 0

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Begin a new epoch of each of `partitions`; what it still held is forgotten."""
        for tp in partitions:
            self.revoke([tp])
            self._epoch += 1
            self._partitions[tp] = _Partition(self._epoch)

    def revoke(self, partitions: Iterable[TopicPartition]) -> None:
        """Forget `partitions` and what they held; later results of theirs are stale."""
        for tp in partitions:
            state = self._partitions.pop(tp, None)
            if state is not None:
                self.records -= state.records
                self.bytes -= state.bytes

    @property
    def assigned(self) -> Collection[TopicPartition]:
        return self._partitions.keys()

    def pending(self, tp: TopicPartition) -> tuple[int, int]:
        """Records and bytes of `tp` that were delivered and not committed."""
        state = self._partitions[tp]
        return state.records, state.bytes

    def ready(self, tp: TopicPartition) -> int:
        """Records of `tp` that a commit made now would cover."""
        return len(self._partitions[tp].ready)

    def current(self, work: Work) -> bool:
        """Whether `work` belongs to the present assignment of its partition."""
        state = self._partitions.get(work.partition)
        return state is not None and state.epoch == work.epoch

    def deliver(self, work: Work) -> None:
        """Take in the next message of its partition; sets its epoch.

        Raises:
            KeyError: the partition is not assigned.
            ValueError: its offset is below one that was delivered before.
        """
        state = self._partitions[work.partition]
        if state.end is not None and work.offset < state.end:
            raise ValueError(f"{work.name} delivered again, or out of order")
        work.epoch = state.epoch
        state.pending.append(work)
        state.end = work.offset + 1
        state.records += 1
        state.bytes += work.size
        self.records += 1
        self.bytes += work.size

    def advance(self, tp: TopicPartition, position: int) -> bool:
        """The consumer stands at `position`: nothing is left to deliver below it.

        Where markers or holes follow the last message, this lets a commit reach behind them, so
        that the group's lag goes to zero. Returns whether it does.
        """
        state = self._partitions[tp]
        if state.end is None:
            state.end = state.taken_to = position  # where the group starts: nothing to commit
        elif position > state.end:
            state.end = position
            return True
        return False

    def complete(self, work: Work) -> bool:
        """Count the outcome of `work`; False where it is stale or was counted before."""
        if work.done or not self.current(work):
            return False
        work.done = True
        state = self._partitions[work.partition]
        while state.pending and state.pending[0].done:
            state.ready.append(state.pending.popleft())
        return True

    def committable(self, tp: TopicPartition) -> int | None:
        """Offset up to which (exclusive) everything delivered is done; None before a delivery."""
        state = self._partitions[tp]
        return state.pending[0].offset if state.pending else state.end

    def take(self, partitions: Iterable[TopicPartition] | None = None) -> Taken:
        """Hand out the completed prefixes of `partitions` (all by default) for a commit.

        They count as pending until `settle`.
        """
        taken = Taken([], {}, {})
        for tp in list(self._partitions if partitions is None else partitions):
            state = self._partitions.get(tp)
            offset = None if state is None else self.committable(tp)
            if state is None or offset is None:
                continue
            passed_markers = not state.pending and offset != state.taken_to
            if state.ready or passed_markers:
                taken.works += state.ready
                taken.offsets[tp] = offset
                taken.epochs[tp] = state.epoch
                state.ready = []
                state.taken_to = offset
        return taken

    def settle(self, taken: Taken) -> None:
        """`taken` is committed: its messages are no longer pending."""
        for work in taken.works:
            state = self._partitions.get(work.partition)
            if state is not None and state.epoch == work.epoch:
                state.records -= 1
                state.bytes -= work.size
                self.records -= 1
                self.bytes -= work.size
