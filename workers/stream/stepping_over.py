"""Stepping over one offset of the manifest topic on purpose, which leaves a dead letter.

It is counted in a metrics event, as every dead letter is.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
from kafka import OffsetAndMetadata, TopicPartition

from schemas.failures import ErrorCode, RecordError
from schemas.settings import KafkaSettings, SettingsError
from workers.kafka.clients import make_consumer, make_producer
from workers.kafka.errors import UnreadableBatchError
from workers.kafka.group_offsets import wait_until_empty
from workers.kafka.messages import OutputMessage
from workers.kafka.protocols import Record
from workers.kafka.reader import partitions_of
from workers.kafka.topic_state import topic_states
from workers.stream.decoding import to_pending_record
from workers.stream.metrics_events import aggregate
from workers.stream.output_messages import Outputs
from workers.stream.pending_record import PendingRecord

#: The name in the metrics event, where that of a worker would be.
_NAME = "chorus offsets skip"
#: Longest wait for the record, in seconds.
_READ_TIMEOUT_S = 30.0


class Skipped(msgspec.Struct, kw_only=True, frozen=True):
    """What was stepped over.

    Attributes:
        partition: of the manifest topic.
        first, last: offsets; several where they are in one batch that cannot be read.
        readable: whether the dead letter holds the record.
    """

    partition: int
    first: int
    last: int
    readable: bool


def step_over(kafka: KafkaSettings, partition: int, offset: int, timeout_s: float = 0.0) -> Skipped:
    """Let the group go on behind the record at `offset`, or behind the unreadable batch there.

    The dead letters, their metrics event and the group's offset are written in one transaction.

    Args:
        kafka: the settings' section.
        partition: of the manifest topic.
        offset: must be the next one that the workers would read.
        timeout_s: as `set_group_offsets`.

    Raises:
        SettingsError: there is no such partition or output topic, or `offset` is not the next one.
        GroupActiveError: the group still has members.
    """
    begun = time.time()
    tp = TopicPartition(kafka.topics.manifests, partition)
    if tp not in partitions_of(kafka, tp.topic):
        raise SettingsError(f"--partition {partition}: {tp.topic} has no such partition")
    wait_until_empty(kafka, timeout_s)
    found = _next(kafka, tp)
    if isinstance(found, UnreadableBatchError):
        skipped = Skipped(
            partition=partition, first=found.offset, last=found.last_offset, readable=False
        )
    else:
        skipped = Skipped(partition=partition, first=found.offset, last=found.offset, readable=True)
    if not skipped.first <= offset <= skipped.last:
        raise SettingsError(
            f"--offset {offset}: the workers would read offset {skipped.first} of partition "
            f"{partition} next; `chorus offsets set` moves them without dead letters"
        )
    records = _records(tp, found)
    events = aggregate(_NAME, begun, time.time(), records)
    outputs = _outputs(kafka)
    messages = [*(_letter(outputs, each) for each in records), *map(outputs.metrics, events)]
    _commit(kafka, tp, skipped.last + 1, messages)
    return skipped


def _next(kafka: KafkaSettings, tp: TopicPartition) -> Record | UnreadableBatchError:
    """The record, or the unreadable batch, that the group comes to next."""
    consumer: Any = make_consumer(kafka, group_id=kafka.group)
    try:
        consumer.assign([tp])
        committed = consumer.committed(tp)
        if committed is None:
            consumer.seek_to_beginning(tp)
        else:
            consumer.seek(tp, committed)
        [end] = consumer.end_offsets([tp]).values()
        deadline = time.monotonic() + _READ_TIMEOUT_S
        while consumer.position(tp) < end and time.monotonic() < deadline:
            for messages in consumer.poll(timeout_ms=200, max_records=1).values():
                message: Record = messages[0]
                return message
    except UnreadableBatchError as error:
        return error
    finally:
        consumer.close()
    raise SettingsError(f"--partition {tp.partition}: nothing is left to be read in it")


def _outputs(kafka: KafkaSettings) -> Outputs:
    """Makes the messages, for topics that exist."""
    topic = kafka.topics.dead_letters
    states = topic_states(kafka, [topic, kafka.topics.metrics])
    for name, state in states.items():
        if state is None:
            raise SettingsError(
                f"kafka.topics: there is no topic {name}; `chorus topics` creates it"
            )
    letters = states[topic]
    limit = (letters.max_message_bytes if letters else None) or 1 << 20
    return Outputs(kafka, {topic: limit, kafka.topics.transcripts: limit})


def _records(tp: TopicPartition, found: Record | UnreadableBatchError) -> list[PendingRecord]:
    """What is stepped over, each with its outcome; without a message where it cannot be read."""
    if not isinstance(found, UnreadableBatchError):
        record = to_pending_record(found)
        id_ = record.manifest.id if record.manifest else record.name
        record.outcome = _error(id_, "an operator has stepped over it")
        record.finished = time.time()
        return [record]
    reason = f"an operator has stepped over it, because it could not be read: {found.reason}"
    records = [
        PendingRecord(tp, offset, None, finished=time.time())
        for offset in range(found.offset, found.last_offset + 1)
    ]
    for record in records:
        record.outcome = _error(record.name, reason)
    return records


def _letter(outputs: Outputs, record: PendingRecord) -> OutputMessage:
    if record.message is None and isinstance(record.outcome, RecordError):
        return outputs.unreadable(record, record.outcome)
    return outputs.result(record)


def _error(id_: str, reason: str) -> RecordError:
    return RecordError(id=id_, code=ErrorCode.RECORD_SKIPPED, message=reason)


def _commit(
    kafka: KafkaSettings, tp: TopicPartition, offset: int, messages: list[OutputMessage]
) -> None:
    producer: Any = make_producer(kafka, transactional_id=f"{kafka.group}.skip")
    try:
        producer.init_transactions()
        producer.begin_transaction()
        sent = [
            producer.send(topic, key=key, value=value, headers=headers)
            for topic, key, value, headers in messages
        ]
        producer.flush()
        for future in sent:
            future.get()
        producer.send_offsets_to_transaction({tp: OffsetAndMetadata(offset, "", -1)}, kafka.group)
        producer.commit_transaction()
    finally:
        producer.close()
