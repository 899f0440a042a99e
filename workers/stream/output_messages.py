"""What a worker writes to Kafka: transcripts, metrics events and dead letters as messages."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from schemas.dead_letter import HEADER_PREFIX, DeadLetter, original_headers, to_headers
from schemas.failures import ErrorCode, RecordError
from schemas.metrics import MetricsEvent
from schemas.settings import KafkaSettings
from schemas.transcript import Transcript, encode_transcript
from serve_app.telemetry.tracing import TRACEPARENT, traceparent
from workers.kafka.messages import FORMAT_HEADERS, OutputMessage, metrics_message
from workers.stream.pending_record import PendingRecord

#: Headers of a transcript: the ``topic-partition-offset`` that it was made from, ...
SOURCE_HEADER = HEADER_PREFIX + "source"
#: ... and the record's id.
ID_HEADER = HEADER_PREFIX + "id"

#: Of the headers that say what the value of a message is, each kind of message has its own.
_FORMAT_NAMES = {name for name, _ in FORMAT_HEADERS}


class Outputs:
    """Makes the messages of a worker.

    Args:
        kafka: names the topics, and the group for dead letters.
        max_bytes: largest message that may be sent, by topic.
    """

    def __init__(self, kafka: KafkaSettings, max_bytes: Mapping[str, int]) -> None:
        self._topics = kafka.topics
        self._group = kafka.group
        self._keep_key = kafka.transcript_key == "record"
        self._max_transcript = max_bytes[kafka.topics.transcripts]
        self._max_dead_letter = max_bytes[kafka.topics.dead_letters]

    def result(self, record: PendingRecord) -> OutputMessage:
        """The message of a finished `record`: its transcript, or its dead letter."""
        if isinstance(record.outcome, RecordError):
            return self._dead_letter(record, record.outcome)
        if record.outcome is None:
            raise ValueError(f"{record.name} has no outcome")
        message = self._transcript(record, record.outcome)
        if message.size <= self._max_transcript:
            return message
        reason = (
            f"its transcript has {message.size} bytes and a message of its topic holds "
            f"{self._max_transcript}; send fewer or shorter extra keys and headers"
        )
        error = RecordError(id=record.outcome.id, code=ErrorCode.RECORD_SCHEMA, message=reason)
        return self._dead_letter(record, error)

    def metrics(self, event: MetricsEvent) -> OutputMessage:
        """A metrics event; keyed by its worker, so one worker's events stay in order."""
        return metrics_message(self._topics.metrics, event)

    def _transcript(self, record: PendingRecord, transcript: Transcript) -> OutputMessage:
        id_ = transcript.id.encode()
        ours = [(ID_HEADER, id_), (SOURCE_HEADER, record.name.encode()), *FORMAT_HEADERS]
        theirs = [
            (key, value or b"")
            for key, value in original_headers(record.message.headers or ())
            if key not in _FORMAT_NAMES and (record.span is None or key != TRACEPARENT)
        ]
        if record.span is not None:  # who reads it goes on with the same trace
            ours.append((TRACEPARENT, (traceparent(record.span) or "").encode()))
        key = record.message.key if self._keep_key else None
        value = encode_transcript(transcript)
        return OutputMessage(
            self._topics.transcripts, id_ if key is None else key, value, [*theirs, *ours]
        )

    def unreadable(self, record: PendingRecord, error: RecordError) -> OutputMessage:
        """The dead letter of `record`, whose message could not be read."""
        letter = msgspec.structs.replace(self._letter(record, error), keyless=True, value_omitted=0)
        topic, key = self._topics.dead_letters, record.name.encode()
        return OutputMessage(topic, key, None, to_headers(letter))

    def _letter(self, record: PendingRecord, error: RecordError) -> DeadLetter:
        return DeadLetter(
            id=error.id,
            failure=error.failure,
            code=error.code,
            message=error.message,
            attempts=record.attempts,
            topic=record.partition.topic,
            partition=record.partition.partition,
            offset=record.offset,
            group=self._group,
            timestamp=record.finished,
        )

    def _dead_letter(self, record: PendingRecord, error: RecordError) -> OutputMessage:
        name = record.name.encode()
        letter = self._letter(record, error)
        letter.keyless = record.message.key is None
        original = [(key, value or b"") for key, value in record.message.headers or ()]
        message = OutputMessage(
            self._topics.dead_letters,
            name if letter.keyless else record.message.key,
            record.message.value,
            [*original, *to_headers(letter)],
        )
        if message.size > self._max_dead_letter:
            # it came in whole and our headers are too much: its place says where it still is
            letter = msgspec.structs.replace(letter, value_omitted=record.size)
            message = message._replace(value=b"", headers=[*original, *to_headers(letter)])
        if message.size > self._max_dead_letter:
            message = message._replace(key=name, headers=to_headers(letter))
        return message
