"""Sending dead letters back to the topic that they came from."""

from __future__ import annotations

from typing import Any

from kafka import OffsetAndMetadata, TopicPartition

from schemas.dead_letter import DeadLetter, from_headers, original_headers
from schemas.settings import KafkaSettings
from workers.stream.clients import make_consumer, make_producer
from workers.topic_reader import Message, read_topic

#: Consumer group whose committed offsets say how far `replay --all` has come.
GROUP_SUFFIX = ".replay"


def replay_letters(
    kafka: KafkaSettings, ids: set[str] | None, code: str | None = None
) -> tuple[int, set[str]]:
    """Produce dead letters to their own topics again: key, value and headers as they were.

    Args:
        ids: record ids or ``topic-partition-offset`` of those to replay; None replays all that an
            earlier call with None has not, and commits how far it came in the same transaction.
        code: only letters with this error code (others count as seen).

    Returns:
        How many were replayed, and which of `ids` were not found.
    """
    group = kafka.group + GROUP_SUFFIX
    topic = kafka.topics.dead_letters
    consumer: Any = make_consumer(kafka, group_id=group)
    producer: Any = make_producer(kafka, transactional_id=group)
    replayed = 0
    found: set[str] = set()
    try:
        done = _committed(consumer, topic) if ids is None else {}
        reached: dict[TopicPartition, OffsetAndMetadata] = {}
        producer.init_transactions()
        producer.begin_transaction()
        sent = []
        for message in read_topic(kafka, topic):
            assert message is not None  # only a follower sees None
            letter = from_headers(message.headers)
            partition = TopicPartition(topic, message.partition)
            if ids is None:
                if message.offset < done.get(partition, 0):
                    continue
                reached[partition] = OffsetAndMetadata(message.offset + 1, "", -1)
            else:
                names = ids & {letter.id, f"{letter.topic}-{letter.partition}-{letter.offset}"}
                if not names:
                    continue
                found |= names
            if code is None or letter.code == code:
                sent.append(_send(producer, message, letter))
        producer.flush()
        for future in sent:
            future.get()
        if reached:
            producer.send_offsets_to_transaction(reached, group)
        producer.commit_transaction()
        replayed = len(sent)
    finally:
        producer.close()
        consumer.close()
    return replayed, (ids or set()) - found


def _send(producer: Any, message: Message, letter: DeadLetter) -> Any:
    return producer.send(
        letter.topic,
        key=message.key,
        value=message.value,
        headers=original_headers(message.headers),
    )


def _committed(consumer: Any, topic: str) -> dict[TopicPartition, int]:
    partitions = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic) or ()]
    offsets = {partition: consumer.committed(partition) for partition in partitions}
    return {partition: offset for partition, offset in offsets.items() if offset is not None}
