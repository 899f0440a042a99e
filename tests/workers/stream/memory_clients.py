"""Consumer and producer of a `MemoryCluster`, with the behaviour of kafka-python's."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from kafka import AsyncConsumerRebalanceListener, OffsetAndMetadata, TopicPartition
from kafka.errors import (
    InvalidProducerEpochError,
    InvalidRecordError,
    InvalidTimestampError,
    KafkaTimeoutError,
    LogTruncationError,
    MessageSizeTooLargeError,
    NoOffsetForPartitionError,
)
from kafka.future import Future
from kafka.structs import ConsumerGroupMetadata, MemberState

from tests.workers.stream.memory_cluster import Entry, Group, Member, MemoryCluster
from tests.workers.stream.support import Message
from workers.kafka.partition_offsets import PartitionOffsets
from workers.kafka.protocols import Record
from workers.kafka.topic_state import TopicState

#: Longest wait in a poll that brings nothing, whatever the caller allows: tests are to be quick.
_POLL_S = 0.005


class MemoryConsumer:
    """See `workers.kafka.protocols.Consumer`."""

    def __init__(self, cluster: MemoryCluster, group_id: str, options: Mapping[str, Any]) -> None:
        self._cluster = cluster
        self._group_id = group_id
        self._instance: str | None = options.get("group_instance_id")
        self._session_s = options.get("session_timeout_ms", 10_000) / 1e3
        self._group: Group
        self._listener: AsyncConsumerRebalanceListener
        self._member_id = ""
        self._generation = -1
        self._reset = options.get("auto_offset_reset", "earliest")
        #: of the assigned partitions; None where nothing is committed
        self._positions: dict[TopicPartition, OffsetAndMetadata | None] = {}
        self._validated: dict[TopicPartition, int] = {}  # against the leader of this epoch
        self._paused: set[TopicPartition] = set()

    def subscribe(
        self, topics: Collection[str], *, listener: AsyncConsumerRebalanceListener
    ) -> None:
        (topic,) = topics
        self._group = self._cluster.group(self._group_id, topic)
        self._listener = listener

    def poll(
        self, *, timeout_ms: float, max_records: int, fetch_wait_ms: float
    ) -> dict[TopicPartition, list[Record]]:
        assert max_records > 0
        self._heartbeat()
        with self._cluster.lock:
            self._check_positions()
            found = self._fetch(max_records)
            if not found:
                self._cluster.lock.wait(min(timeout_ms / 1e3, _POLL_S))
                found = self._fetch(max_records)
            return found

    def _fetch(self, max_records: int) -> dict[TopicPartition, list[Record]]:
        """Messages of one partition, as kafka-python returns them; the next time of another."""
        for tp in list(self._positions):
            if tp in self._paused:
                continue
            at = self._position(tp)
            self._cluster.require("READ", tp.topic)
            entries, end = self._cluster.read(tp, at.offset, max_records)
            epoch = self._cluster.logs[tp][end - 1].leader_epoch if end > at.offset else None
            del self._positions[tp]  # it becomes the last in the order
            self._positions[tp] = at if epoch is None else OffsetAndMetadata(end, "", epoch)
            if entries:
                return {tp: [_message(tp, offset, entry) for offset, entry in entries]}
        return {}

    def _position(self, tp: TopicPartition) -> OffsetAndMetadata:
        at = self._positions[tp]
        assert at is not None
        return at

    def _check_positions(self) -> None:
        """Raise where there is no position, or where the log differs before one (KIP-320)."""
        missing = {tp for tp, at in self._positions.items() if at is None}
        if missing:
            raise NoOffsetForPartitionError(missing)
        diverging = {}
        for tp in self._positions:
            at, epoch = self._position(tp), self._cluster.leader_epochs[tp]
            if at.leader_epoch < 0 or max(at.leader_epoch, self._validated.get(tp, -1)) >= epoch:
                continue
            self._validated[tp] = epoch
            end = self._cluster.end_of_epoch(tp, at.leader_epoch)
            if end < at.offset:
                diverging[tp] = OffsetAndMetadata(end, "", at.leader_epoch)
        if diverging:
            raise LogTruncationError(diverging)

    def _heartbeat(self) -> None:
        """Join the group, and follow it through a rebalance."""
        with self._cluster.lock:
            if not self._member_id:
                self._member_id = self._group.join(self._instance, self._session_s)
            member = self._group.heartbeat(self._member_id)
            settled = not self._group.preparing and member is not None
        if member is None:
            lost = self._forget(set(self._positions))
            self._member_id, self._generation = "", -1
            if lost:
                _run(self._listener.on_partitions_lost(lost))
        elif settled and (
            self._generation != self._group.generation or member.target != set(self._positions)
        ):
            self._follow(member)

    def _follow(self, member: Member) -> None:
        self._generation = member.generation = self._group.generation
        target = set(member.target)
        revoked = set(self._positions) - target
        if revoked:
            _run(self._listener.on_partitions_revoked(revoked))
            self._forget(revoked)
        added = target - set(self._positions)
        with self._cluster.lock:
            for tp in sorted(added):
                first = None if self._reset == "none" else OffsetAndMetadata(0, "", -1)
                self._positions[tp] = self._group.offsets.get(tp, first)
            member.owned = set(self._positions)
            if revoked:
                self._group.rebalance()  # somebody else may have them now
        if added:
            _run(self._listener.on_partitions_assigned(added))

    def _forget(self, partitions: set[TopicPartition]) -> set[TopicPartition]:
        self._paused -= partitions
        for tp in partitions:
            del self._positions[tp]
            self._validated.pop(tp, None)
        return partitions

    def assignment(self) -> set[TopicPartition]:
        return set(self._positions)

    def paused(self) -> set[TopicPartition]:
        return set(self._paused)

    def pause(self, *partitions: TopicPartition) -> None:
        assert set(partitions) <= set(self._positions)
        self._paused |= set(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        self._paused -= set(partitions)

    def fetch_position(
        self, partition: TopicPartition, *, timeout_ms: float
    ) -> OffsetAndMetadata | None:
        return self._positions[partition]

    def committed(
        self, partition: TopicPartition, *, metadata: Literal[True], timeout_ms: float
    ) -> OffsetAndMetadata | None:
        self._cluster.require("READ", self._group_id)
        return self._cluster.committed(self._group_id).get(partition)

    def log_range(self, partition: TopicPartition, *, timeout_ms: float) -> tuple[int, int]:
        end = self._cluster.last_stable_offset(partition)
        return self._cluster.starts[partition], end

    def topic_id(self, topic: str, *, refresh_timeout_ms: float | None = None) -> str:
        return self._cluster.topic_ids[topic]

    def seek_to(self, partition: TopicPartition, at: OffsetAndMetadata) -> None:
        assert partition in self._positions
        self._positions[partition] = at
        self._validated.pop(partition, None)

    def seek_to_beginning(self, *partitions: TopicPartition) -> None:
        for tp in partitions:
            self.seek_to(tp, OffsetAndMetadata(self._cluster.starts[tp], "", -1))

    def commit(
        self, offsets: Mapping[TopicPartition, OffsetAndMetadata], *, timeout_ms: float
    ) -> None:
        self._cluster.require("READ", self._group_id)
        with self._cluster.lock:
            self._group.check(self.group_metadata())
            self._group.offsets.update(offsets)

    def commit_async(self, offsets: Mapping[TopicPartition, Any], *, callback: Any) -> None:
        try:
            self.commit(offsets, timeout_ms=0)
        except Exception as error:
            callback(offsets, error)
        else:
            callback(offsets, True)

    def group_metadata(self) -> ConsumerGroupMetadata:
        state = MemberState.UNJOINED
        with self._cluster.lock:
            if self._generation >= 0:
                group = self._group
                settled = not group.preparing and group.generation == self._generation
                state = MemberState.STABLE if settled else MemberState.REBALANCING
            return ConsumerGroupMetadata(
                self._group_id, self._generation, self._member_id, self._instance, state
            )

    def close(self, *, autocommit: bool, timeout_ms: float) -> None:
        assert not autocommit
        if self._positions:
            _run(self._listener.on_partitions_revoked(set(self._positions)))
        if self._member_id and self._instance is None:
            with self._cluster.lock:
                self._group.leave(self._member_id)


class MemoryProducer:
    """See `workers.kafka.protocols.Producer`."""

    def __init__(self, cluster: MemoryCluster, options: Mapping[str, Any]) -> None:
        self.config: Mapping[str, Any] = {"max_request_size": 1 << 20, **options}
        self._cluster = cluster
        self._id: str | None = options.get("transactional_id")
        self._epoch = -1
        self._begun = False
        self._partitions: set[TopicPartition] = set()  # of the transaction, as far as we know
        self._failure: Exception | None = None  # why the transaction cannot be committed
        self._dropped = False  # the broker has dropped it, and a send has found out ...
        self._flushed = False  # ... before the commit

    def init_transactions(self) -> None:
        assert self._id
        self._epoch = self._cluster.init_producer(self._id)

    def begin_transaction(self) -> None:
        assert self._epoch >= 0
        assert not self._begun
        self._begun, self._dropped, self._flushed, self._failure = True, False, False, None
        self._partitions = set()

    def send(
        self,
        topic: str,
        *,
        key: bytes | None = None,
        value: bytes | None = None,
        headers: Iterable[tuple[str, bytes | None]] = (),
        partition: int | None = None,
    ) -> Future:
        assert key is not None or value is not None
        size = len(key or b"") + len(value or b"")
        if not self._cluster.knows(topic):
            raise KafkaTimeoutError("Failed to update metadata")
        if size > self.config["max_request_size"]:
            raise MessageSizeTooLargeError(str(size))
        partitions = self._cluster.partitions(topic)
        number = zlib.crc32(key or value or b"") if partition is None else partition
        tp = partitions[number % len(partitions)]
        result = Future()
        try:
            self._cluster.require("WRITE", topic)
            if size > self._cluster.max_bytes[topic]:
                self._failure = MessageSizeTooLargeError(str(size))
            if self._failure is not None:
                raise self._failure
            if key is None and topic in self._cluster.compacted:
                raise InvalidRecordError("a compacted topic takes no message without a key")
            if topic in self._cluster.past_is_refused:
                raise InvalidTimestampError("out of range")
            with self._cluster.lock:
                entry = Entry(key, value, tuple(headers))
                if self._id is not None:
                    assert self._begun
                    entry.transaction = self._join(tp)
                self._cluster.append(tp, entry)
        except Exception as error:
            self._failure = error
            return result.failure(error)
        return result.success(None)

    def _join(self, tp: TopicPartition) -> Any:
        """The transaction, with `tp` in it.

        A fenced producer learns it as such when it adds a partition. From a partition that it has
        added before it gets another error, after which kafka-python takes up a new epoch and
        forgets the transaction: a commit that was called meanwhile does nothing, without an error.
        """
        assert self._id
        try:
            transaction = self._cluster.transaction(self._id, self._epoch)
        except Exception:
            if tp in self._partitions:
                self._dropped = True
                raise InvalidProducerEpochError from None
            raise
        self._partitions.add(tp)
        return transaction

    def flush(self, *, timeout: float = 0.0) -> None:
        """Everything has been sent; kafka-python knows now what has failed."""
        self._flushed = self._dropped

    def send_offsets_to_transaction(
        self,
        offsets: Mapping[TopicPartition, OffsetAndMetadata],
        group_metadata: ConsumerGroupMetadata,
    ) -> None:
        with self._in_transaction() as transaction:
            self._cluster.require("READ", group_metadata.group_id)
            group = self._cluster.group(group_metadata.group_id)
            group.check(group_metadata)
            pending = transaction.offsets.setdefault(group_metadata.group_id, {})
            pending.update(offsets)

    def commit_transaction(self) -> None:
        assert self._begun
        self._begun = False
        if self._dropped and not self._flushed:
            return
        if self._failure is not None:
            raise self._failure
        assert self._id
        self._cluster.commit(self._id, self._epoch)

    def abort_transaction(self) -> None:
        assert self._id
        self._begun = False
        self._cluster.abort(self._id, self._epoch)

    @contextmanager
    def _in_transaction(self) -> Iterator[Any]:
        assert self._id
        with self._cluster.lock:
            try:
                yield self._cluster.transaction(self._id, self._epoch)
            except Exception as error:
                self._failure = error
                raise

    def close(self, *, timeout: float = 0.0) -> None:
        """An open transaction stays open: the next producer or the broker ends it."""
        self._epoch = -1


class MemoryClients:
    """See `workers.kafka.protocols.Clients`."""

    def __init__(self, cluster: MemoryCluster, group: str) -> None:
        self._cluster = cluster
        self._group = group

    def consumer(self, *, group_id: str, **options: Any) -> MemoryConsumer:
        return MemoryConsumer(self._cluster, group_id, options)

    def producer(self, **options: Any) -> MemoryProducer:
        return MemoryProducer(self._cluster, options)

    def topics(self, names: Iterable[str]) -> dict[str, TopicState | None]:
        return {name: self._cluster.topic_state(name) for name in names}

    def group_offsets(self) -> list[PartitionOffsets]:
        return self._cluster.group_offsets(self._group)

    def static_member(self, instance_id: str) -> str | None:
        with self._cluster.lock:
            holder = self._cluster.group(self._group).holder(instance_id)
            return holder.id if holder else None


def _message(tp: TopicPartition, offset: int, entry: Entry) -> Message:
    return Message(
        entry.value,
        entry.key,
        entry.headers,
        tp.topic,
        tp.partition,
        offset,
        entry.timestamp,
        entry.leader_epoch,
    )


def _run(callback: Any) -> None:
    """Run a listener's coroutine, which waits for nothing but in blocking calls."""
    try:
        callback.send(None)
    except StopIteration:
        return
    raise AssertionError("a rebalance listener waits")
