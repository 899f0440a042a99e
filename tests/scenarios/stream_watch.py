"""Feeding a stack and watching what it commits, while things break."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable
from typing import Any

from kafka import KafkaAdminClient, TopicPartition
from kafka.errors import KafkaError, RetriableError

from schemas.manifest import ManifestRecord, encode_manifest
from schemas.settings import KafkaSettings
from workers.kafka.clients import make_consumer, make_producer

#: How long a record may wait for a broker that is down before producing it fails.
_PATIENCE_MS = 180_000


class Feed:
    """Produces records in portions, without waiting for the broker.

    Args:
        kafka: settings of a broker that runs.
        records: what to produce, in this order; their keys spread them over the partitions.
    """

    def __init__(self, kafka: KafkaSettings, records: Iterable[ManifestRecord]) -> None:
        self._topic = kafka.topics.manifests
        self._left = deque(records)
        self._total = len(self._left)
        self._futures: list[Any] = []
        self._producer = make_producer(
            kafka, linger_ms=20, delivery_timeout_ms=_PATIENCE_MS, max_block_ms=_PATIENCE_MS
        )

    @property
    def sent(self) -> int:
        """Records handed to the producer."""
        return self._total - len(self._left)

    def add(self, records: Iterable[ManifestRecord]) -> None:
        """Have more to produce, after the others."""
        before = len(self._left)
        self._left.extend(records)
        self._total += len(self._left) - before

    def up_to(self, count: int) -> None:
        """Send until `count` records are sent, or all."""
        while self._left and self.sent < count:
            record = self._left.popleft()
            self._futures.append(
                self._producer.send(
                    self._topic, key=record.id.encode(), value=encode_manifest(record)
                )
            )

    def finish(self) -> None:
        """Send the rest and wait until the broker has everything. Raises what failed."""
        self.up_to(self._total)
        for future in self._futures:
            future.get(_PATIENCE_MS / 1e3)

    def close(self) -> None:
        """Give up what is not sent."""
        with contextlib.suppress(KafkaError):
            self._producer.close(timeout=5)


def committed_offsets(admin: KafkaAdminClient, group: str) -> dict[TopicPartition, int]:
    """The offsets that `group` has committed; empty while the broker is on its way up."""
    try:
        groups = admin.list_group_offsets(group)
    except RetriableError:
        return {}
    found = next(iter(groups.values())) if groups else {}
    return {partition: at.offset for partition, at in found.items() if at.offset >= 0}


class CommitWatch:
    """Counts committed results (transcripts and dead letters) as they appear.

    Args:
        kafka: settings of a broker that runs.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._consumer = make_consumer(kafka, group_id=None)
        topics = (kafka.topics.transcripts, kafka.topics.dead_letters)
        self._consumer.assign(
            [
                TopicPartition(topic, number)
                for topic in topics
                for number in self._consumer.partitions_for_topic(topic)
            ]
        )
        self.count = 0

    def look(self, timeout_s: float = 0.1) -> int:
        """Wait up to `timeout_s` for more results; returns how many there are by now."""
        batches = self._consumer.poll(timeout_ms=int(timeout_s * 1e3), max_records=10_000)
        self.count += sum(map(len, batches.values()))
        return self.count

    def close(self) -> None:
        self._consumer.close()
