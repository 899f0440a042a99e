"""Work-arounds for faults of kafka-python 3.0.12: all that touches its internals is here.

The clients of `workers.kafka.clients` are made of these classes, so nobody else needs to know.
`tests/workers/kafka/test_workarounds.py` shows each fault in the installed version. When one of
those tests fails, a newer kafka-python has mended the fault, and the work-around can go.
"""

from __future__ import annotations

from typing import Any

from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.errors import (
    FencedInstanceIdError,
    InvalidTransactionTimeoutError,
    KafkaConnectionError,
    KafkaError,
    UnsupportedCodecError,
)
from kafka.net.compat import KafkaNetClient
from kafka.net.manager import KafkaConnectionManager

from workers.kafka.errors import UnreadableBatchError

#: Longest wait for a connection, at first, in milliseconds. kafka-python has no option for it, and
#: waits 10 s for the first of `bootstrap_servers` before it tries the next one.
KafkaConnectionManager.DEFAULT_CONFIG["socket_connection_setup_timeout_ms"] = 3_000


class PatchedConsumer(KafkaConsumer):
    """A consumer that reads on after `resume`, ends a rebalance, and names what it cannot read.

    It says when another member has taken its place; and it says and takes what kafka-python knows
    of the log behind an offset (KIP-320, KIP-516): see `workers.kafka.protocols.Consumer`.
    """

    def __init__(self, *topics: str, **configs: Any) -> None:
        super().__init__(*topics, **configs)
        self._fetcher.PartitionRecords = NamingRecords
        self._silent_polls = 0

    def poll(self, *args: Any, fetch_wait_ms: float | None = None, **options: Any) -> Any:
        """As `KafkaConsumer.poll`.

        Args:
            args: as there.
            fetch_wait_ms: longest wait of the fetches that are sent from now on at a broker that
                has nothing new; kafka-python takes it once and for all.
            options: as there.

        Raises:
            UnreadableBatchError: the next batch of a partition cannot be taken apart.
            kafka.errors.FencedInstanceIdError: another member has this one's `group_instance_id`.
        """
        if fetch_wait_ms is not None:
            self._fetcher.config["fetch_max_wait_ms"] = fetch_wait_ms
        self._silent_polls = self._silent_polls + 1 if is_silent(self) else 0
        if self._silent_polls > 1:  # once may be the moment in which it has just joined
            raise FencedInstanceIdError(f"{self.config['group_instance_id']} is another member")
        drop_used_up_records(self)
        take_up_the_join(self)
        return super().poll(*args, **options)

    def fetch_position(
        self, partition: TopicPartition, *, timeout_ms: float
    ) -> OffsetAndMetadata | None:
        """`position` gives the offset without its leader epoch."""
        if self.position(partition, timeout_ms=timeout_ms) is None:
            return None
        position: OffsetAndMetadata | None = self._subscription.assignment[partition].position
        return position

    def seek_to(self, partition: TopicPartition, at: OffsetAndMetadata) -> None:
        """`seek` takes an offset without its leader epoch."""
        self.seek(partition, at.offset)
        self._subscription.seek(partition, at)

    def log_range(self, partition: TopicPartition, *, timeout_ms: float) -> tuple[int, int]:
        """First offset, and offset after the last one that may be read."""
        start = self.beginning_offsets([partition], timeout_ms=timeout_ms)[partition]
        end = self.end_offsets([partition], timeout_ms=timeout_ms)[partition]
        return start, end

    def topic_id(self, topic: str, *, refresh_timeout_ms: float | None = None) -> str:
        """Id of the topic in the metadata; empty where it has none."""
        if refresh_timeout_ms is not None:
            updated = self._cluster.request_update()
            self._net.run(self._manager.wait_for, updated, refresh_timeout_ms)
        return str(self._cluster.topic_id(topic) or "")


class NamingRecords(Fetcher.PartitionRecords):
    """The fetched records of a partition, which name a batch that cannot be taken apart.

    kafka-python lets the codec's own error out of `poll`, without topic, partition or offset. The
    next `poll` then never returns: it takes the records, whose iterator has ended with the error,
    for records that are still to be returned.
    """

    def _unpack_records(self, tp: TopicPartition, records: Any, *deserializers: Any) -> Any:
        batches = _Batches(records)
        try:
            yield from super()._unpack_records(tp, batches, *deserializers)
        except Exception as error:
            first = self.next_fetch_offset
            last = max(first, batches.last_offset)
            self.drain()  # the next poll fetches the batch again
            raise UnreadableBatchError(tp, first, last, _reason(error)) from error


class _Batches:
    """`MemoryRecords` that remember the last offset of the batch that was handed out."""

    def __init__(self, records: Any) -> None:
        self.last_offset = -1
        self._records = records

    def next_batch(self) -> Any:
        batch = self._records.next_batch()
        if batch is not None and batch.magic == 2:
            self.last_offset = batch.last_offset
        return batch


def _reason(error: Exception) -> str:
    name = type(error).__name__
    for codec, package in (("zstd", "zstandard"), ("snappy", "python-snappy")):
        if isinstance(error, UnsupportedCodecError) and codec in str(error):
            return f"it is compressed with {codec}; install the Python package `{package}`"
    # an error of a codec or a decoder may repeat what it could not read
    return f"{name}: {error}" if isinstance(error, KafkaError) else name


class PatchedProducer(KafkaProducer):
    """A producer whose thread ends with `close`, and that names a transaction that is too long."""

    def init_transactions(self) -> None:
        """As `KafkaProducer.init_transactions`, which raises a `KafkaError` of no kind.

        Raises:
            InvalidTransactionTimeoutError: the broker does not allow `transaction_timeout_ms`.
        """
        try:
            super().init_transactions()
        except KafkaError as error:
            if InvalidTransactionTimeoutError.__name__ in str(error):
                raise InvalidTransactionTimeoutError from error
            raise

    def close(self, *args: Any, **options: Any) -> None:
        """As `KafkaProducer.close`. Where it raises, unsent messages are dropped."""
        try:
            super().close(*args, **options)
        except Exception:
            end_sender(self)
            raise


class PatchedNetClient(KafkaNetClient):
    """The network client of the producers; it repeats a request that found no connection.

    The producer's thread asks `await_ready` for a connection to the transaction coordinator. When
    that raises, the thread drops the request that it was about to send; when it returns False, the
    thread looks for the coordinator and sends the request again. A dropped request leaves `flush`
    and `commit_transaction` waiting, and the thread turning without a pause, long after the broker
    is back.
    """

    def await_ready(self, node_id: Any, timeout_ms: float = 30_000) -> bool:
        """Whether the connection is there; False instead of a `KafkaConnectionError`."""
        try:
            return bool(super().await_ready(node_id, timeout_ms))
        except KafkaConnectionError:
            return False


def drop_used_up_records(consumer: KafkaConsumer) -> None:
    """Let go of fetched records that were all returned already; call it before every poll.

    The consumer sets the fetched records of a paused partition aside. After `resume` it takes them
    up again only while no other fetched records are in hand, and it takes records that are in hand
    but used up for such ones (`Fetcher.fetched_records` tests for None, not for emptiness). So a
    resumed partition can stay silent for ever, and nothing new is fetched for it either.
    """
    fetcher = consumer._fetcher
    in_hand = fetcher._next_partition_records
    if in_hand is not None and not in_hand:
        fetcher._next_partition_records = None


def take_up_the_join(consumer: KafkaConsumer) -> None:
    """Let the next poll wait for the end of a rebalance that was begun; call it before every poll.

    The leader of a group joins again when the topic's metadata have changed since its last
    assignment. If the poll that begins this ends before the broker has answered, the assignment is
    computed in the background, from when on nothing asks for a rebalance any more
    (`need_rejoin`). So no later poll takes up its result: the member stays without partitions and
    without heartbeats. The first assignment of a group is often computed before its metadata are
    there, hence this can happen to any worker that starts.
    """
    coordinator = consumer._coordinator
    if coordinator._join_task is not None and not coordinator.need_rejoin():
        coordinator.request_rejoin()


def is_silent(consumer: KafkaConsumer) -> bool:
    """Whether a member that has joined sends no heartbeats.

    kafka-python does that when the broker has answered one by saying that another member has its
    `group_instance_id`, and says nothing about it. A commit would be refused, but only as long as
    the other one is there: after that, the broker knows neither, and commits fail for ever.
    """
    coordinator = consumer._coordinator
    return bool(coordinator.stable() and not coordinator._heartbeat_enabled)


def end_sender(producer: KafkaProducer) -> None:
    """End the producer's thread without sending what is left.

    `close` gives up half-way when it cannot flush in time: it raises before it stops the thread,
    which then tries to deliver the messages for as long as the process lives.
    """
    producer._sender.force_close()
