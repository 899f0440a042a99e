"""Reading a topic from outside a consumer group: what `tail` and `dead-letters` look at."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from kafka import TopicPartition

from schemas.settings import KafkaSettings, SettingsError
from workers.kafka.clients import KafkaUnreachableError, make_consumer
from workers.kafka.protocols import Record
from workers.kafka.topic_state import topic_states

_POLL_MS = 200
#: Who follows a busy topic asks for what comes in a while, not for each message of it: that costs
#: the broker, and whoever asks, several times the CPU.
_RARELY = {"fetch_min_bytes": 64 << 10, "fetch_max_wait_ms": _POLL_MS // 2}
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
    consumer: Any = make_consumer(kafka, group_id=None, **(_RARELY if follow else {}))
    try:
        consumer.assign(assigned)
        ends = consumer.end_offsets(assigned)  # the last stable offset: read_committed
        if since is not None:
            _seek_to_time(consumer, ends, since)
        elif last is not None:
            starts = consumer.beginning_offsets(assigned)
            for partition in assigned:
                consumer.seek(partition, max(starts[partition], ends[partition] - last))
        elif from_beginning:
            consumer.seek_to_beginning(*assigned)
        else:
            for partition in assigned:
                consumer.seek(partition, ends[partition])
        while follow or _is_before(consumer, ends):
            batches = consumer.poll(timeout_ms=_POLL_MS)
            for messages in batches.values():
                yield from messages
            if follow and not batches:
                yield None
    finally:
        consumer.close()


def read_latest(
    kafka: KafkaSettings, topic: str, *, since: float, most: int, within_s: float
) -> Iterator[Record]:
    """The latest committed messages of `topic`, for a look at what goes on. As `read_topic`.

    Args:
        kafka: the settings' section.
        topic: its name.
        since: Unix time in seconds of the earliest.
        most: messages of all partitions together; of each, the same number is read.
        within_s: seconds after which no more are read, however many are left.
    """
    deadline = time.monotonic() + within_s
    partitions = partitions_of(kafka, topic)
    consumer: Any = make_consumer(kafka, group_id=None)
    try:
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        _seek_to_time(consumer, ends, since)
        for partition, end in ends.items():
            first = end - -(-most // len(partitions))
            if consumer.position(partition) < first:
                consumer.seek(partition, first)
        while _is_before(consumer, ends) and time.monotonic() < deadline:
            for messages in consumer.poll(timeout_ms=_POLL_MS).values():
                yield from messages
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
            for message in consumer.poll(timeout_ms=_POLL_MS, max_records=1).get(place, ()):
                found: Record = message
                return found if found.offset == offset else None
        if time.monotonic() < deadline:
            return None  # a marker of a transaction, or a message of one that was given up
        raise KafkaUnreachableError(f"no Kafka broker sends what is in `{topic}`")
    finally:
        consumer.close()


class TopicReader:
    """Reads a topic bit by bit: each time what has been committed since. Not thread-safe.

    Blocks and raises like `read_topic`. After an error of Kafka's it may be used again, and goes on
    where it was.

    Args:
        kafka: the settings' section.
        topic: its name.
        since: Unix time in seconds of the earliest messages.
    """

    def __init__(self, kafka: KafkaSettings, topic: str, since: float) -> None:
        self._kafka, self._topic, self._since = kafka, topic, since
        self._consumer: Any = make_consumer(kafka, group_id=None)

    def unread(self) -> Iterator[Record]:
        """The messages from where it was to the last one that is committed now."""
        consumer = self._consumer
        partitions = partitions_of(self._kafka, self._topic)
        if new := set(partitions) - consumer.assignment():
            places = {each: consumer.position(each) for each in consumer.assignment()}
            consumer.assign(partitions)
            _seek_to_time(consumer, consumer.end_offsets(list(new)), self._since)
            for partition, offset in places.items():
                consumer.seek(partition, offset)
        ends = consumer.end_offsets(partitions)
        while _is_before(consumer, ends):
            for messages in consumer.poll(timeout_ms=_POLL_MS).values():
                yield from messages

    def close(self) -> None:
        """Close the client."""
        self._consumer.close()


def _seek_to_time(consumer: Any, ends: Mapping[TopicPartition, int], since: float) -> None:
    """Have each partition read from its first message on that is not older, or from its end."""
    places = consumer.offsets_for_times(dict.fromkeys(ends, max(0, int(since * 1000))))
    for partition, end in ends.items():
        place = places.get(partition)
        consumer.seek(partition, end if place is None else place.offset)


def _is_before(consumer: Any, ends: Mapping[TopicPartition, int]) -> bool:
    """Whether something is unread; the position tells: markers of transactions have offsets too."""
    return any(consumer.position(each) < end for each, end in ends.items())
