"""Two clusters with one face, on which the same tests run: a real broker, and one in memory."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, cast

from kafka import TopicPartition
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ResourcePattern,
    ResourceType,
)

from schemas.settings import Settings
from tests.workers.stream import support
from tests.workers.stream.memory_clients import MemoryClients
from tests.workers.stream.memory_cluster import Entry, MemoryCluster
from tests.workers.stream.support import StandInRouter, manifest, wait_until
from workers.broker.cluster import Cluster
from workers.kafka.broker_clients import BrokerClients
from workers.kafka.clients import make_admin, make_producer
from workers.kafka.protocols import Clients, Producer, SendResult
from workers.kafka.topics import ensure_topics
from workers.stream.worker import StreamWorker

#: Under these, what the broker does in seconds happens at once. The logic does not depend on them.
AT_ONCE: dict[str, Any] = {
    "commit_interval_s": 0.01,
    "session_timeout_s": 1.0,
    "retry_initial_s": 0.001,
    "retry_max_s": 0.02,
}


class AnyCluster(Protocol):
    """What the tests do with a cluster, besides letting workers run on it."""

    def settings(self, partitions: int = 3, **stream: Any) -> Settings:
        """Settings with topics of their own, which exist."""

    def topic(self, max_bytes: int) -> str:
        """A new topic with one partition and a limit to its messages, in bytes."""

    def topic_with(self, configs: dict[str, str]) -> str:
        """A new topic with one partition and these of Kafka's configs."""

    def delete(self, settings: Settings, topic: str) -> None:
        """Delete `topic`."""

    def create(self, settings: Settings, topic: str) -> None:
        """Create `topic` with one partition."""

    def deny(self, settings: Settings, right: str, name: str) -> None:
        """Take a right to a topic, or to the group, away from every user of this cluster."""

    def clients(self, settings: Settings) -> Clients:
        """What a worker makes its Kafka clients with."""

    def produce(self, settings: Settings, values: Iterable[bytes | None], **options: Any) -> None:
        """Send values to the manifest topic, spread over its partitions."""

    def produce_unreadable(self, settings: Settings, values: list[bytes]) -> None:
        """Send one batch to partition 0; see `unreadable_batches` of the tests."""

    def read_all(self, settings: Settings, topic: str) -> list[Any]:
        """Every committed message of `topic`, up to its last stable offset."""

    def committed(self, settings: Settings) -> dict[int, int]:
        """Committed offset per partition of the manifest topic."""

    def end_offsets(self, settings: Settings) -> dict[int, int]:
        """Last stable offset per partition of the manifest topic."""

    def trim(self, settings: Settings, partition: int, start: int) -> None:
        """Delete the messages of the manifest topic's partition that are below `start`."""

    def recreate(self, settings: Settings) -> None:
        """Delete the manifest topic, and create it again."""

    def let_transactions_time_out(self, timeout_s: float) -> None:
        """Wait until the broker aborts the transactions that have this timeout."""

    def pause(self, seconds: float) -> None:
        """Give the workers time to do what they should not do."""


class AnyProducer(Producer, Protocol):
    """What the producers of both clusters can do beyond what the worker asks of them."""

    def send(
        self,
        topic: str,
        *,
        key: bytes | None = ...,
        value: bytes | None = ...,
        headers: list[tuple[str, bytes]] = ...,
    ) -> SendResult:
        """Hand a message over for sending."""

    def flush(self, *, timeout: float = ...) -> None:
        """Wait until every message is acknowledged or has failed."""

    def close(self, *, timeout: float = ...) -> None:
        """Stop."""

    def abort_transaction(self) -> None:
        """Abort the transaction: readers never see what was sent in it."""


def any_producer(clients: Clients, **options: Any) -> AnyProducer:
    """A producer of `clients`, with everything that it can do."""
    return cast(AnyProducer, clients.producer(**options))


class BrokerCluster:
    """A real broker."""

    def __init__(self, kafka: Cluster, unique: Callable[[str], str]) -> None:
        self.bootstrap = kafka.bootstrap
        self.unique = unique

    def settings(self, partitions: int = 3, **stream: Any) -> Settings:
        return support.settings_for(self.bootstrap, self.unique, partitions, **stream)

    def topic(self, max_bytes: int) -> str:
        name = self.unique("small")
        configs = {name: {"max.message.bytes": str(max_bytes)}}
        ensure_topics(self.bootstrap, {name: 1}, configs=configs)
        return name

    def topic_with(self, configs: dict[str, str]) -> str:
        name = self.unique("topic")
        ensure_topics(self.bootstrap, {name: 1}, configs={name: configs})
        return name

    def delete(self, settings: Settings, topic: str) -> None:
        with make_admin(settings.kafka) as admin:
            admin.delete_topics([topic])
            wait_until(lambda: topic not in admin.list_topics())

    def create(self, settings: Settings, topic: str) -> None:
        ensure_topics(self.bootstrap, {topic: 1})

    def deny(self, settings: Settings, right: str, name: str) -> None:
        kind = ResourceType.GROUP if name == settings.kafka.group else ResourceType.TOPIC
        pattern = ResourcePattern(kind, name)
        # whoever has no entry of his own loses every right with the first entry: hence ALL
        entries = [
            ACL("User:ANONYMOUS", "*", operation, permission, pattern)
            for operation, permission in (
                (ACLOperation.ALL, ACLPermissionType.ALLOW),
                (ACLOperation[right], ACLPermissionType.DENY),
            )
        ]
        with make_admin(settings.kafka) as admin:
            assert not admin.create_acls(entries)["failed"]

    def clients(self, settings: Settings) -> Clients:
        return BrokerClients(settings.kafka)

    def produce(self, settings: Settings, values: Iterable[bytes | None], **options: Any) -> None:
        support.produce(settings, values, **options)

    def produce_unreadable(self, settings: Settings, values: list[bytes]) -> None:
        producer = make_producer(settings.kafka, linger_ms=1_000, compression_type="gzip")
        for value in values:
            producer.send(settings.kafka.topics.manifests, value=value, partition=0)
        producer.close()

    def read_all(self, settings: Settings, topic: str) -> list[Any]:
        return support.read_all(settings, topic)

    def committed(self, settings: Settings) -> dict[int, int]:
        return support.committed(settings)

    def end_offsets(self, settings: Settings) -> dict[int, int]:
        return support.end_offsets(settings)

    def trim(self, settings: Settings, partition: int, start: int) -> None:
        with make_admin(settings.kafka) as admin:
            admin.delete_records(
                {TopicPartition(settings.kafka.topics.manifests, partition): start}
            )

    def recreate(self, settings: Settings) -> None:
        topic = settings.kafka.topics.manifests
        with make_admin(settings.kafka) as admin:
            [found] = admin.describe_topics([topic])
        self.delete(settings, topic)
        ensure_topics(self.bootstrap, {topic: len(found["partitions"])})

    def let_transactions_time_out(self, timeout_s: float) -> None:
        time.sleep(timeout_s + 3.0)  # the broker looks once a second

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)


class InMemoryCluster:
    """A `MemoryCluster`."""

    def __init__(self, unique: Callable[[str], str]) -> None:
        self._cluster = MemoryCluster()
        self._unique = unique

    def settings(self, partitions: int = 3, **stream: Any) -> Settings:
        settings = support.settings_of("127.0.0.1:1", self._unique("stream"), **AT_ONCE | stream)
        for topic, count in support.partitions_of(settings, partitions).items():
            self._cluster.create(topic, count)
        return settings

    def topic(self, max_bytes: int) -> str:
        return self._cluster.create(self._unique("small"), 1, max_bytes)

    def topic_with(self, configs: dict[str, str]) -> str:
        name = self._cluster.create(self._unique("topic"), 1)
        self._cluster.min_in_sync[name] = int(configs.get("min.insync.replicas", 1))
        if configs.get("cleanup.policy") == "compact":
            self._cluster.compacted.add(name)
        if "message.timestamp.before.max.ms" in configs:
            self._cluster.past_is_refused.add(name)
        return name

    def delete(self, settings: Settings, topic: str) -> None:
        self._cluster.delete(topic)

    def create(self, settings: Settings, topic: str) -> None:
        self._cluster.create(topic, 1)

    def deny(self, settings: Settings, right: str, name: str) -> None:
        self._cluster.denied.add((right, name))

    def clients(self, settings: Settings) -> Clients:
        return MemoryClients(self._cluster, settings.kafka.group)

    def produce(self, settings: Settings, values: Iterable[bytes | None], **options: Any) -> None:
        partitions = self._cluster.partitions(settings.kafka.topics.manifests)
        headers = tuple(options.get("headers", ()))
        for number, value in enumerate(values):
            key = options.get("key", b"k" if value is None else None)
            tp = partitions[options.get("partition", number % len(partitions))]
            self._cluster.append(tp, Entry(key, value, headers))

    def produce_unreadable(self, settings: Settings, values: list[bytes]) -> None:
        tp = TopicPartition(settings.kafka.topics.manifests, 0)
        first = len(self._cluster.logs[tp])
        for value in values:
            batch = range(first, first + len(values))
            self._cluster.append(tp, Entry(value=value, batch=batch))

    def read_all(self, settings: Settings, topic: str) -> list[Any]:
        found: list[Any] = []
        for tp in self._cluster.partitions(topic):
            entries, _ = self._cluster.read(tp, self._cluster.starts[tp], limit=1_000_000)
            found += [entry for _, entry in entries]
        return found

    def committed(self, settings: Settings) -> dict[int, int]:
        offsets = self._cluster.committed(settings.kafka.group)
        return {tp.partition: at.offset for tp, at in offsets.items()}

    def end_offsets(self, settings: Settings) -> dict[int, int]:
        partitions = self._cluster.partitions(settings.kafka.topics.manifests)
        return {tp.partition: self._cluster.last_stable_offset(tp) for tp in partitions}

    def trim(self, settings: Settings, partition: int, start: int) -> None:
        self._cluster.trim(TopicPartition(settings.kafka.topics.manifests, partition), start)

    def recreate(self, settings: Settings) -> None:
        self._cluster.recreate(settings.kafka.topics.manifests)

    def cut_off(self, settings: Settings, partition: int, end: int) -> None:
        """Lose the messages from `end` on with a new leader; the brokers' tests cannot."""
        self._cluster.cut_off(TopicPartition(settings.kafka.topics.manifests, partition), end)

    def let_transactions_time_out(self, timeout_s: float) -> None:
        self._cluster.time_out_transactions()

    def pause(self, seconds: float) -> None:
        time.sleep(seconds / 20)


class Bench:
    """A cluster, and the phrases that the tests of the worker are written in."""

    def __init__(self, cluster: AnyCluster) -> None:
        self.cluster = cluster
        self.settings = cluster.settings
        self.produce = cluster.produce
        self.read_all = cluster.read_all
        self.committed = cluster.committed
        self.end_offsets = cluster.end_offsets
        self.topic = cluster.topic
        self.pause = cluster.pause

    def send(self, settings: Settings, names: Iterable[str], **options: Any) -> None:
        """Send good records of these ids."""
        self.cluster.produce(settings, (manifest(name) for name in names), **options)

    def worker(
        self,
        settings: Settings,
        backend: StandInRouter,
        instance: str = "0",
        clients: Clients | None = None,
    ) -> StreamWorker:
        clients = clients or self.cluster.clients(settings)
        return StreamWorker(settings, backend, instance, clients)

    def running(
        self,
        settings: Settings,
        backend: StandInRouter,
        instance: str = "0",
        clients: Clients | None = None,
    ) -> AbstractContextManager[StreamWorker]:
        """A worker in a thread; stopped at the end, which must go well."""
        return support.running_worker(self.worker(settings, backend, instance, clients))

    @contextmanager
    def ending(self, worker: StreamWorker) -> Iterator[list[int]]:
        """`worker` in a thread; the list gets its exit code. Waits for that at the end."""
        codes: list[int] = []
        thread = threading.Thread(target=lambda: codes.append(worker.run()), daemon=True)
        thread.start()
        yield codes
        thread.join(timeout=60)
        assert codes, "the worker did not stop"

    def abort_a_transaction(self, settings: Settings) -> None:
        """Leave offsets at the end of a partition that hold nothing for a reader."""
        name = f"{settings.kafka.group}-producer"
        producer = any_producer(self.cluster.clients(settings), transactional_id=name)
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(settings.kafka.topics.manifests, value=manifest("aborted"))
        producer.flush()
        producer.abort_transaction()
        producer.close()

    def transcript_ids(self, settings: Settings) -> Counter[str]:
        """How often each id is in the transcripts."""
        messages = self.cluster.read_all(settings, settings.kafka.topics.transcripts)
        return Counter(message.key.decode() for message in messages)

    def dead_letters(self, settings: Settings) -> list[Any]:
        return self.cluster.read_all(settings, settings.kafka.topics.dead_letters)

    def all_committed(self, settings: Settings) -> bool:
        return self.committed(settings) == self.end_offsets(settings)
