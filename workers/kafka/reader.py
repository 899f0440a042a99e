"""Reading a topic from outside a consumer group: what `tail` and `dead-letters` look at."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from kafka import TopicPartition

from schemas.settings import KafkaSettings, SettingsError
from workers.kafka.clients import KafkaUnreachableError, make_consumer
from workers.kafka.protocols import Record
from workers.kafka.topic_state import topic_states

#: Longest wait for one message.
_MESSAGE_S = 10.0


class UnknownTopicError(SettingsError):
    """The topic that the settings name does not exist."""


def partitions_of(kafka: KafkaSettings, topic: str) -> list[TopicPartition]:
    """The partitions of `topic`, in order. Blocks and raises like `make_consumer`.

    Raises:
        UnknownTopicError: there is no such topic.
        kafka.errors.TopicAuthorizationFailedError: this user may not describe it.
    """
    state = topic_states(kafka, [topic])[topic]
    if state is None:
        raise UnknownTopicError(
            f"there is no topic `{topic}` on {', '.join(kafka.bootstrap_servers)}; "
            "`chorus topics` creates those of the settings"
        )
    return [TopicPartition(topic, number) for number in range(state.partitions)]


def read_topic(
    kafka: KafkaSettings,
    topic: str,
    *,
    from_beginning: bool = True,
    follow: bool = False,
    since: float | None = None,
    last: int | None = None,
) -> Iterator[Record | None]:
    """Committed messages of `topic`, over all its partitions.

    Without `follow` it ends with the last message that was committed when it began. With `follow`
    it never ends, and yields None whenever nothing came for a short while, so that the caller can
    look at its clock.

    Args:
        kafka: the settings' section.
        topic: its name.
        from_beginning: whether what is in the topic already is read too.
        follow: whether it goes on.
        since: Unix time in seconds; with it, each partition is read from its first message on that
            is not older.
        last: with it, each partition is read from so many offsets before its end on; those of
            transaction markers count too.

    Raises:
        UnknownTopicError, kafka.errors.TopicAuthorizationFailedError: as `partitions_of`.
    """
    assigned = partitions_of(kafka, topic)
    consumer: Any = make_consumer(kafka, group_id=None)
    try:
        consumer.assign(assigned)
        ends = consumer.end_offsets(assigned)  # the last stable offset: read_committed
        if since is not None:
            places = consumer.offsets_for_times(dict.fromkeys(assigned, max(0, int(since * 1000))))
            for partition in assigned:
                place = places.get(partition)
                consumer.seek(partition, ends[partition] if place is None else place.offset)
        elif last is not None:
            starts = consumer.beginning_offsets(assigned)
            for partition in assigned:
                consumer.seek(partition, max(starts[partition], ends[partition] - last))
        elif from_beginning:
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


def message_at(kafka: KafkaSettings, topic: str, partition: int, offset: int) -> Record | None:
    """The committed message at an offset; None if there is none, or no more.

    Args:
        kafka: the settings' section.
        topic: its name.
        partition: its number.
        offset: in the partition.

    Raises:
        UnknownTopicError, kafka.errors.TopicAuthorizationFailedError: as `partitions_of`.
        KafkaUnreachableError: no broker answers.
    """
    place = TopicPartition(topic, partition)
    if place not in partitions_of(kafka, topic):
        return None
    consumer: Any = make_consumer(kafka, group_id=None)
    try:
        consumer.assign([place])
        first, end = (
            consumer.beginning_offsets([place])[place],
            consumer.end_offsets([place])[place],
        )
        if not first <= offset < end:
            return None
        consumer.seek(place, offset)
        deadline = time.monotonic() + _MESSAGE_S
        while consumer.position(place) <= offset and time.monotonic() < deadline:
            for message in consumer.poll(timeout_ms=200, max_records=1).get(place, ()):
                found: Record = message
                return found if found.offset == offset else None
        if time.monotonic() < deadline:
            return None  # a marker of a transaction, or a message of one that was given up
        raise KafkaUnreachableError(f"no Kafka broker sends what is in `{topic}`")
    finally:
        consumer.close()
