"""Reading a topic from outside a consumer group: what `tail` and `dead-letters` look at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from kafka import TopicPartition

from schemas.settings import KafkaSettings, SettingsError
from workers.stream.clients import make_consumer


class Message(Protocol):
    """A record of a topic as kafka-python gives it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


class UnknownTopicError(SettingsError):
    """The topic that the settings name does not exist."""


def read_topic(
    kafka: KafkaSettings, topic: str, *, from_beginning: bool = True, follow: bool = False
) -> Iterator[Message | None]:
    """Committed messages of `topic`, over all its partitions.

    Without `follow` it ends with the last message that was committed when it began. With `follow`
    it never ends, and yields None whenever nothing came for a short while, so that the caller can
    look at its clock.

    Raises:
        UnknownTopicError: there is no such topic.
    """
    consumer: Any = make_consumer(kafka, group_id=None)
    try:
        partitions = consumer.partitions_for_topic(topic)
        if not partitions:
            raise UnknownTopicError(f"no topic `{topic}` on {', '.join(kafka.bootstrap_servers)}")
        assigned = [TopicPartition(topic, number) for number in sorted(partitions)]
        consumer.assign(assigned)
        ends = consumer.end_offsets(assigned)  # the last stable offset: read_committed
        if from_beginning:
            consumer.seek_to_beginning(*assigned)
        else:
            for partition in assigned:
                consumer.seek(partition, ends[partition])
        # the position, not the last message, tells the end: markers of transactions have offsets
        while follow or any(consumer.position(p) < ends[p] for p in assigned):
            batches = consumer.poll(timeout_ms=200)
            for messages in batches.values():
                yield from messages
            if follow and not batches:
                yield None
    finally:
        consumer.close()
