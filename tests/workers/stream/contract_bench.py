"""A topic with readers and writers, for the tests of what Kafka and kafka-python do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from kafka import AsyncConsumerRebalanceListener, OffsetAndMetadata, TopicPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.structs import MemberState

from tests.workers.stream.clusters import AnyCluster, AnyProducer, any_producer
from tests.workers.stream.support import wait_until
from workers.kafka.protocols import SendResult


class Kafka:
    """One topic, its readers, and its transactional writers."""

    def __init__(self, cluster: AnyCluster, partitions: int) -> None:
        self.settings = cluster.settings(partitions)
        self.cluster = cluster
        self.topic = self.settings.kafka.topics.manifests
        self.clients = cluster.clients(self.settings)
        self._opened: list[Reader] = []

    def producer(self, **options: Any) -> AnyProducer:
        options = {"transactional_id": f"{self.topic}-writer", **options}
        producer = any_producer(self.clients, **options)
        producer.init_transactions()
        return producer

    def consumer(self, instance: str, **options: Any) -> Reader:
        reader = Reader(self, instance, **options)
        self._opened.append(reader)
        return reader

    def send(self, producer: AnyProducer, value: bytes) -> SendResult:
        return producer.send(self.topic, key=b"k", value=value, headers=[])

    def write(self, producer: AnyProducer, *values: bytes, commit: bool = True) -> None:
        producer.begin_transaction()
        for value in values:
            self.send(producer, value)
        producer.flush(timeout=10)
        producer.commit_transaction() if commit else producer.abort_transaction()

    def producer_of_a_dropped_transaction(self) -> AnyProducer:
        """A producer that has sent a message in a transaction which has timed out since."""
        producer = self.producer(transaction_timeout_ms=1_000)
        producer.begin_transaction()
        self.send(producer, b"a")
        producer.flush(timeout=10)
        self.cluster.let_transactions_time_out(1.0)
        return producer

    def values(self) -> list[bytes]:
        return [m.value for m in self.cluster.read_all(self.settings, self.topic)]

    def close(self) -> None:
        for reader in self._opened:
            reader.consumer.close(autocommit=False, timeout_ms=1_000)


KafkaOf = Callable[..., Kafka]


class Reader(AsyncConsumerRebalanceListener):
    """A static member, with what its listener has heard."""

    def __init__(self, kafka: Kafka, instance: str, **options: Any) -> None:
        self.events: list[tuple[str, set[int]]] = []
        self.offsets: list[int] = []
        self.consumer = kafka.clients.consumer(
            group_id=kafka.settings.kafka.group,
            group_instance_id=instance,
            partition_assignment_strategy=[CooperativeStickyAssignor()],
            heartbeat_interval_ms=500,
            **{"session_timeout_ms": 6_000, **options},
        )
        self.consumer.subscribe([kafka.topic], listener=self)

    def poll(self, max_records: int = 500) -> None:
        batches = self.consumer.poll(timeout_ms=50, max_records=max_records, fetch_wait_ms=50)
        self.offsets += [message.offset for each in batches.values() for message in each]

    @property
    def partitions(self) -> set[int]:
        return {tp.partition for tp in self.consumer.assignment()}

    @property
    def stable(self) -> bool:
        return self.consumer.group_metadata().state is MemberState.STABLE

    @property
    def generation(self) -> int:
        generation: int = self.consumer.group_metadata().generation_id
        return generation

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self.events.append(("assigned", {tp.partition for tp in assigned}))

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self.events.append(("revoked", {tp.partition for tp in revoked}))

    async def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        self.events.append(("lost", {tp.partition for tp in lost}))


@contextmanager
def polling(*readers: Reader) -> Iterator[None]:
    """Each of `readers` polls on a thread of its own.

    On one thread in turn, the members of a group hardly ever agree: kafka-python joins again when
    a poll ends before the others have joined.
    """
    ended = threading.Event()

    def poll(reader: Reader) -> None:
        while not ended.is_set():
            reader.poll()

    with ThreadPoolExecutor(len(readers)) as pool:
        polls = [pool.submit(poll, reader) for reader in readers]
        try:
            yield
        finally:
            ended.set()
    for each in polls:
        each.result()


def poll_until(reader: Reader, condition: Callable[[], bool], max_records: int = 500) -> None:
    """Let `reader` poll until `condition` holds."""

    def met() -> bool:
        reader.poll(max_records)
        return condition()

    wait_until(met)


def at(offset: int) -> OffsetAndMetadata:
    return OffsetAndMetadata(offset, "", -1)
