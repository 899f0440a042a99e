"""A Kafka cluster in memory: logs, transactions and consumer groups as the broker keeps them.

It does what the stream worker relies on, and as a real broker does it: offsets with transaction
markers, reading up to the last stable offset, logs that lose records at either end, fencing of
producers by their epoch, groups whose generation changes when every member has joined again,
cooperative and static membership. `test_transactions_contract.py` and `test_groups_contract.py`
compare it with a real broker. Not here: replication, unreachable brokers, heartbeats between polls,
security, compression.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from kafka import OffsetAndMetadata, TopicPartition
from kafka.errors import (
    CommitFailedError,
    FencedInstanceIdError,
    GroupAuthorizationFailedError,
    OffsetOutOfRangeError,
    ProducerFencedError,
    TopicAuthorizationFailedError,
)
from kafka.structs import ConsumerGroupMetadata

from workers.kafka.errors import UnreadableBatchError
from workers.kafka.partition_offsets import PartitionOffsets
from workers.kafka.topic_state import TopicState

MAX_MESSAGE_BYTES = 1 << 20


@dataclass(eq=False)
class Transaction:
    """What one transaction of one producer has touched."""

    state: str = "open"  # or "committed" or "aborted"
    starts: dict[TopicPartition, int] = field(default_factory=dict)  # its first offsets
    #: by group
    offsets: dict[str, dict[TopicPartition, OffsetAndMetadata]] = field(default_factory=dict)


@dataclass
class Entry:
    """One offset of a log: a message, or the marker at the end of a transaction."""

    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp: int = field(default_factory=lambda: int(time.time() * 1e3))
    transaction: Transaction | None = None
    marker: bool = False
    leader_epoch: int = 0
    batch: range | None = None  # of the offsets with which it cannot be taken apart

    @property
    def visible(self) -> bool:
        aborted = self.transaction is not None and self.transaction.state == "aborted"
        return not self.marker and not aborted


@dataclass
class Member:
    """A member of a group as the coordinator knows it."""

    id: str
    instance: str | None
    session_timeout_s: float
    seen: float
    generation: int = -1
    joined: bool = False
    owned: set[TopicPartition] = field(default_factory=set)
    target: set[TopicPartition] = field(default_factory=set)


class Group:
    """A consumer group of one topic. The caller holds the cluster's lock.

    Attributes:
        offsets: committed.
        preparing: whether a rebalance waits for members to join again.
    """

    def __init__(self, partitions: list[TopicPartition]) -> None:
        self.partitions = partitions
        self.offsets: dict[TopicPartition, OffsetAndMetadata] = {}
        self.members: dict[str, Member] = {}
        self.generation = 0
        self.preparing = False
        self._fenced: set[str] = set()
        self._ids = itertools.count()

    def join(self, instance: str | None, session_timeout_s: float) -> str:
        """A new member's id. A static one takes the place of the member of its name."""
        name = f"{instance or 'member'}-{next(self._ids)}"
        member = Member(name, instance, session_timeout_s, time.monotonic())
        holder = self.holder(instance) if instance else None
        self.members[name] = member
        if holder is None:
            self.rebalance()
        else:
            member.target = holder.target
            self._fenced.add(holder.id)
            del self.members[holder.id]
        return name

    def holder(self, instance: str) -> Member | None:
        return next((m for m in self.members.values() if m.instance == instance), None)

    def leave(self, member_id: str) -> None:
        if self.members.pop(member_id, None):
            self.rebalance()

    def rebalance(self) -> None:
        """Ask every member to join again."""
        self.preparing = True
        for member in self.members.values():
            member.joined = False

    def heartbeat(self, member_id: str) -> Member | None:
        """The member, which joins a rebalance with this; None where the group has dropped it."""
        if member_id in self._fenced:
            raise FencedInstanceIdError(f"{member_id} has been replaced")
        now = time.monotonic()
        member = self.members.get(member_id)
        if member is None:
            return None
        member.seen = now
        for other in list(self.members.values()):
            if now - other.seen > other.session_timeout_s:
                self.leave(other.id)
        if self.preparing:
            member.joined = True
            if all(each.joined for each in self.members.values()):
                self.generation += 1
                self.preparing = False
                self._assign()
        return member

    def _assign(self) -> None:
        """Sticky and cooperative: what somebody still owns is not given to anybody else yet."""
        members = sorted(self.members.values(), key=lambda m: m.id)
        quotas = [len(self.partitions[i :: len(members)]) for i in range(len(members))]
        # the most loaded members get the larger quotas, so that fewer partitions move
        members.sort(key=lambda m: -len(m.owned))
        owned = set().union(*(m.owned for m in members))
        free = sorted(set(self.partitions) - owned)
        for member, quota in zip(members, quotas, strict=True):
            member.target = set(sorted(member.owned)[:quota])
            while free and len(member.target) < quota:
                member.target.add(free.pop(0))

    def check(self, metadata: ConsumerGroupMetadata) -> None:
        """Raise where offsets of that membership are not accepted (KIP-447)."""
        if metadata.member_id in self._fenced:
            raise FencedInstanceIdError(metadata.member_id)
        if metadata.generation_id < 0 and not metadata.member_id:
            return  # from outside of the group
        if metadata.member_id not in self.members or metadata.generation_id != self.generation:
            raise CommitFailedError(f"generation {metadata.generation_id} of {metadata.member_id}")


class MemoryCluster:
    """Topics, transactions and groups. Every access holds `lock`, which is notified of changes."""

    def __init__(self) -> None:
        self.lock = threading.Condition(threading.RLock())
        self.logs: dict[TopicPartition, list[Entry]] = {}
        self.starts: dict[TopicPartition, int] = {}  # first offsets that are still there
        self.leader_epochs: dict[TopicPartition, int] = {}
        self.topic_ids: dict[str, str] = {}
        self.max_bytes: dict[str, int] = {}
        self.compacted: set[str] = set()
        self.min_in_sync: dict[str, int] = {}
        self.past_is_refused: set[str] = set()  # topics that take no message of our time
        self.denied: set[tuple[str, str]] = set()  # rights, and the topics and groups they are for
        self._groups: dict[str, Group] = {}
        self._topics = itertools.count()
        self._epochs: dict[str, int] = {}  # by transactional id
        self._open: dict[str, Transaction] = {}  # by transactional id

    # -- topics

    def create(self, topic: str, partitions: int, max_bytes: int = MAX_MESSAGE_BYTES) -> str:
        with self.lock:
            for number in range(partitions):
                tp = TopicPartition(topic, number)
                self.logs[tp] = []
                self.starts[tp] = self.leader_epochs[tp] = 0
            self.max_bytes[topic] = max_bytes
            self.topic_ids[topic] = f"{topic}-{next(self._topics)}"
        return topic

    def recreate(self, topic: str) -> None:
        """Delete `topic` with the offsets that groups have committed for it, and create it."""
        with self.lock:
            partitions = self.partitions(topic)
            for group in self._groups.values():
                for tp in partitions:
                    group.offsets.pop(tp, None)
            self.create(topic, len(partitions), self.max_bytes[topic])

    def delete(self, topic: str) -> None:
        with self.lock:
            for tp in self.partitions(topic):
                del self.logs[tp]
            del self.max_bytes[topic]

    def topic_state(self, topic: str) -> TopicState | None:
        with self.lock:
            self.require("DESCRIBE", topic)
            if topic not in self.max_bytes:
                return None
            rights = {"READ", "WRITE"} - {right for right, name in self.denied if name == topic}
            return TopicState(
                partitions=len(self.partitions(topic)),
                replicas=1,
                rights=frozenset(rights),
                max_message_bytes=self.max_bytes[topic],
                compacted=topic in self.compacted,
                min_in_sync=self.min_in_sync.get(topic, 1),
            )

    def knows(self, topic: str) -> bool:
        """Whether the user sees `topic` in the metadata."""
        return topic in self.max_bytes and ("DESCRIBE", topic) not in self.denied

    def require(self, right: str, name: str) -> None:
        """Raise where the user has not that right to the topic or group of that name."""
        if (right, name) in self.denied:
            if name in self.max_bytes:
                raise TopicAuthorizationFailedError({name})
            raise GroupAuthorizationFailedError(name)

    def trim(self, tp: TopicPartition, start: int) -> None:
        """Delete what is below `start`, as retention does."""
        with self.lock:
            self.starts[tp] = start

    def cut_off(self, tp: TopicPartition, end: int) -> None:
        """Lose what is from `end` on, as a leader does that was elected without having it."""
        with self.lock:
            del self.logs[tp][end:]
            self.leader_epochs[tp] += 1

    def end_of_epoch(self, tp: TopicPartition, leader_epoch: int) -> int:
        """The offset after the last message of this leader epoch or an earlier one."""
        with self.lock:
            later = (
                offset
                for offset, entry in enumerate(self.logs[tp])
                if entry.leader_epoch > leader_epoch
            )
            return next(later, len(self.logs[tp]))

    def partitions(self, topic: str) -> list[TopicPartition]:
        return sorted(tp for tp in self.logs if tp.topic == topic)

    def append(self, tp: TopicPartition, entry: Entry) -> None:
        with self.lock:
            if entry.transaction is not None:
                entry.transaction.starts.setdefault(tp, len(self.logs[tp]))
            entry.leader_epoch = self.leader_epochs[tp]
            self.logs[tp].append(entry)
            self.lock.notify_all()

    def last_stable_offset(self, tp: TopicPartition) -> int:
        """The first offset of an open transaction, or else the end: how far readers may see."""
        starts = [each.starts[tp] for each in self._open.values() if tp in each.starts]
        return min(starts, default=len(self.logs[tp]))

    def read(
        self, tp: TopicPartition, position: int, limit: int
    ) -> tuple[list[tuple[int, Entry]], int]:
        """At most `limit` committed messages from `position` on, and where to read on."""
        with self.lock:
            if not self.starts[tp] <= position <= len(self.logs[tp]):
                raise OffsetOutOfRangeError({tp: position})
            found: list[tuple[int, Entry]] = []
            end = self.last_stable_offset(tp)
            while position < end and len(found) < limit:
                entry = self.logs[tp][position]
                if entry.batch is not None:
                    if found:
                        break
                    raise UnreadableBatchError(tp, position, entry.batch[-1], "ValueError")
                if entry.visible:
                    found.append((position, entry))
                position += 1
            return found, position

    # -- groups

    def group(self, name: str, topic: str = "") -> Group:
        with self.lock:
            group = self._groups.setdefault(name, Group([]))
            group.partitions = group.partitions or self.partitions(topic)
            return group

    # -- transactions

    def init_producer(self, transactional_id: str) -> int:
        """A new epoch of the id. What an earlier one left open is aborted."""
        with self.lock:
            self._end(transactional_id, "aborted")
            self._epochs[transactional_id] = self._epochs.get(transactional_id, -1) + 1
            return self._epochs[transactional_id]

    def transaction(self, transactional_id: str, epoch: int) -> Transaction:
        """The open transaction of that producer, begun where there is none.

        Raises:
            ProducerFencedError: there is a newer epoch.
        """
        with self.lock:
            self._check_epoch(transactional_id, epoch)
            return self._open.setdefault(transactional_id, Transaction())

    def commit(self, transactional_id: str, epoch: int) -> None:
        with self.lock:
            self._check_epoch(transactional_id, epoch)
            self._end(transactional_id, "committed")

    def abort(self, transactional_id: str, epoch: int) -> None:
        with self.lock:
            self._check_epoch(transactional_id, epoch)
            self._end(transactional_id, "aborted")

    def time_out_transactions(self) -> None:
        """Do to all open transactions what the broker does after `transaction_timeout_ms`."""
        with self.lock:
            for transactional_id in list(self._open):
                self.init_producer(transactional_id)

    def _check_epoch(self, transactional_id: str, epoch: int) -> None:
        if self._epochs[transactional_id] != epoch:
            raise ProducerFencedError(f"epoch {epoch} of {transactional_id} is over")

    def _end(self, transactional_id: str, state: str) -> None:
        transaction = self._open.pop(transactional_id, None)
        if transaction is None:
            return
        transaction.state = state
        for tp in transaction.starts:
            self.append(tp, Entry(transaction=transaction, marker=True))
        if state == "committed":
            for name, offsets in transaction.offsets.items():
                self.group(name).offsets.update(offsets)
        self.lock.notify_all()

    def group_offsets(self, name: str) -> list[PartitionOffsets]:
        with self.lock:
            group = self.group(name)
            return [
                PartitionOffsets(
                    partition=tp.partition,
                    start=self.starts[tp],
                    end=self.last_stable_offset(tp),
                    committed=at.offset if (at := group.offsets.get(tp)) else None,
                )
                for tp in group.partitions
            ]

    def committed(self, name: str) -> Mapping[TopicPartition, OffsetAndMetadata]:
        with self.lock:
            return dict(self.group(name).offsets)
