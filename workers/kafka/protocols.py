"""The part of kafka-python that the stream worker uses, as protocols.

kafka-python's own clients fit them (`workers.kafka.clients.BrokerClients`), and so does a cluster
in memory, on which the tests run the same behaviours as on a real broker.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Literal, Protocol

from kafka import AsyncConsumerRebalanceListener, OffsetAndMetadata, TopicPartition
from kafka.structs import ConsumerGroupMetadata

from workers.kafka.partition_offsets import PartitionOffsets
from workers.kafka.topic_state import TopicState


class Record(Protocol):
    """A message that a consumer has read.

    Attributes:
        leader_epoch: of the broker that wrote it; None or -1 where it is not known.
        timestamp: Unix time in milliseconds.
        headers: name and value pairs; names may repeat.
    """

    topic: str
    partition: int
    offset: int
    leader_epoch: int | None
    key: bytes | None
    value: bytes | None
    headers: Iterable[tuple[str, bytes | None]]
    timestamp: int


class Consumer(Protocol):
    """A member of a consumer group that reads committed messages. Not thread-safe.

    Any method may raise a `kafka.errors.KafkaError`. Timeouts are in milliseconds.
    """

    def subscribe(
        self, topics: Collection[str], *, listener: AsyncConsumerRebalanceListener
    ) -> None:
        """Join the group at the next poll; `listener` hears of partitions that come and go."""

    def poll(
        self, *, timeout_ms: float, max_records: int, fetch_wait_ms: float
    ) -> Mapping[TopicPartition, list[Record]]:
        """The next messages, at most `max_records`; may be none. Rebalances happen in here.

        Args:
            timeout_ms: longest wait.
            max_records: that it returns.
            fetch_wait_ms: longest wait of a fetch at a broker that has nothing new; a partition
                that is resumed waits for the fetch under way.

        Raises:
            kafka.errors.NoOffsetForPartitionError: nothing is committed for partitions that were
                not sought; `seek_to` or `seek_to_beginning` helps.
            kafka.errors.OffsetOutOfRangeError: a log does not have the offset to be fetched.
            kafka.errors.LogTruncationError: records before that offset were replaced by others.
            kafka.errors.FencedInstanceIdError: another member has this one's static name.
        """

    def assignment(self) -> set[TopicPartition]:
        """The partitions that this member reads."""

    def paused(self) -> set[TopicPartition]:
        """Those of them that are not fetched."""

    def pause(self, *partitions: TopicPartition) -> None:
        """Fetch `partitions` no more."""

    def resume(self, *partitions: TopicPartition) -> None:
        """Fetch `partitions` again, from where they were paused."""

    def fetch_position(
        self, partition: TopicPartition, *, timeout_ms: float
    ) -> OffsetAndMetadata | None:
        """Offset of the next message to fetch, and the leader epoch of the one before it.

        None where it is not known in time.
        """

    def committed(
        self, partition: TopicPartition, *, metadata: Literal[True], timeout_ms: float
    ) -> OffsetAndMetadata | None:
        """The group's committed offset; None where there is none."""

    def log_range(self, partition: TopicPartition, *, timeout_ms: float) -> tuple[int, int]:
        """First offset of the log, and its last stable offset: how far readers may see."""

    def topic_id(self, topic: str, *, refresh_timeout_ms: float | None = None) -> str:
        """What tells the topic from an earlier one of its name; empty where it is not known.

        Args:
            topic: its name.
            refresh_timeout_ms: longest wait for newer metadata; None for what is at hand.
        """

    def seek_to(self, partition: TopicPartition, at: OffsetAndMetadata) -> None:
        """Fetch from an offset on, if the log before it has not been replaced (KIP-320)."""

    def seek_to_beginning(self, *partitions: TopicPartition) -> None:
        """Fetch from the first message on."""

    def commit(
        self, offsets: Mapping[TopicPartition, OffsetAndMetadata], *, timeout_ms: float
    ) -> None:
        """Commit `offsets` for the group and wait for the answer."""

    def commit_async(
        self,
        offsets: Mapping[TopicPartition, OffsetAndMetadata],
        *,
        callback: Callable[[Any, Any], None],
    ) -> Any:
        """Commit without waiting; `callback` gets the offsets, and a response or an exception."""

    def group_metadata(self) -> ConsumerGroupMetadata:
        """This membership: `member_id`, generation, and `state` (`kafka.structs.MemberState`)."""

    def close(self, *, autocommit: bool, timeout_ms: float) -> None:
        """Stop; a static member keeps its partitions until its session times out."""


class SendResult(Protocol):
    """What becomes of one message that was sent."""

    exception: BaseException | None

    def succeeded(self) -> bool:
        """Whether the brokers have acknowledged it."""


class Producer(Protocol):
    """A transactional or an idempotent producer. Timeouts are in seconds.

    `init_transactions`, `send_offsets_to_transaction` and `commit_transaction` may wait without a
    limit, and raise a `kafka.errors.KafkaError`. `commit_transaction` may return normally although
    a send has failed and nothing was committed.

    Attributes:
        config: the options in effect.
    """

    config: Mapping[str, Any]

    def init_transactions(self) -> None:
        """Fence an earlier producer of this transactional id, and end its transaction."""

    def begin_transaction(self) -> None:
        """Begin a transaction."""

    def send(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: list[tuple[str, bytes]],
    ) -> SendResult:
        """Hand a message over for sending."""

    def flush(self, *, timeout: float) -> None:
        """Wait until every message is acknowledged or has failed."""

    def send_offsets_to_transaction(
        self,
        offsets: Mapping[TopicPartition, OffsetAndMetadata],
        group_metadata: ConsumerGroupMetadata,
    ) -> None:
        """Let the transaction commit `offsets`, if the membership is still valid."""

    def commit_transaction(self) -> None:
        """Commit messages and offsets together."""

    def close(self, *, timeout: float) -> None:
        """Stop; an open transaction is left to the next producer or to its timeout."""


class Clients(Protocol):
    """Makes the clients of one cluster, and answers questions about it.

    Every method blocks until a broker answers, and raises `KafkaUnreachableError` where none does.
    """

    def consumer(self, *, group_id: str, **options: Any) -> Consumer:
        """A consumer; `options` are kafka-python's."""

    def producer(self, **options: Any) -> Producer:
        """A producer, transactional with the option `transactional_id`."""

    def topics(self, names: Iterable[str]) -> dict[str, TopicState | None]:
        """The state of each topic; None for one that does not exist.

        Raises:
            kafka.errors.TopicAuthorizationFailedError: one of them may not be described.
        """

    def group_offsets(self) -> list[PartitionOffsets]:
        """The group's offsets, of every partition of the manifest topic."""

    def static_member(self, instance_id: str) -> str | None:
        """Id of the group's member that holds `instance_id` now; None where none does."""
