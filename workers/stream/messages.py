"""What is written to Kafka: transcripts, metrics events and dead letters as messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from schemas.dead_letter import HEADER_PREFIX, DeadLetter, to_headers
from schemas.failures import ErrorCode, RecordError
from schemas.metrics import MetricsEvent
from schemas.settings import KafkaSettings
from schemas.transcript import Transcript, encode_transcript
from workers.stream.work import Work

#: Version of the message formats; a change that an old reader cannot read raises it.
SCHEMA_VERSION = b"1"
#: Header of a transcript: the ``topic-partition-offset`` that it was made from.
SOURCE_HEADER = "chorus-source"
#: Header of a dead letter whose value was too large for its topic: its size in bytes.
OMITTED_HEADER = HEADER_PREFIX + "value_omitted"
#: The largest dead letter without its value (path and id at their limits), and any metrics event,
#: have room in this.
MIN_MESSAGE_BYTES = 32 * 1024
#: W3C trace context; the producer's own goes on to the transcript.
TRACE_HEADERS = frozenset({"traceparent", "tracestate", "baggage"})

_FORMAT_HEADERS = [("schema-version", SCHEMA_VERSION), ("content-type", b"application/json")]


class Message(NamedTuple):
    """One message to send."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]

    @property
    def size(self) -> int:
        """Bytes before compression, without the few that Kafka adds."""
        headers = sum(len(key) + len(value) + 10 for key, value in self.headers)
        return len(self.key or b"") + len(self.value or b"") + headers + 100


class Outputs:
    """Makes the messages of a worker.

    Args:
        kafka: names the topics, and the group for dead letters.
        max_bytes: largest message that may be sent, by topic.
    """

    def __init__(self, kafka: KafkaSettings, max_bytes: Mapping[str, int]) -> None:
        self._topics = kafka.topics
        self._group = kafka.group
        self._max_transcript = max_bytes[kafka.topics.transcripts]
        self._max_dead_letter = max_bytes[kafka.topics.dead_letters]

    def result(self, work: Work) -> Message:
        """The message of a finished `work`: its transcript, or its dead letter."""
        if isinstance(work.outcome, RecordError):
            return self._dead_letter(work, work.outcome)
        assert work.outcome is not None, f"{work.name} has no outcome"
        message = self._transcript(work, work.outcome)
        if message.size <= self._max_transcript:
            return message
        reason = (
            f"its transcript has {message.size} bytes and a message of its topic holds "
            f"{self._max_transcript}; send fewer or shorter extra keys"
        )
        error = RecordError(id=work.outcome.id, code=ErrorCode.RECORD_SCHEMA, message=reason)
        return self._dead_letter(work, error)

    def metrics(self, event: MetricsEvent) -> Message:
        """A metrics event; keyed by its worker, so one worker's events stay in order."""
        value = msgspec.json.encode(event)
        return Message(self._topics.metrics, event.worker.encode(), value, list(_FORMAT_HEADERS))

    def _transcript(self, work: Work, transcript: Transcript) -> Message:
        headers = [(SOURCE_HEADER, work.name.encode()), *_FORMAT_HEADERS]
        for key, value in work.message.headers or ():
            if key in TRACE_HEADERS:
                headers.append((key, value or b""))
        value = encode_transcript(transcript)
        return Message(self._topics.transcripts, transcript.id.encode(), value, headers)

    def _dead_letter(self, work: Work, error: RecordError) -> Message:
        letter = DeadLetter(
            id=error.id,
            failure=error.failure,
            code=error.code,
            message=error.message,
            attempts=work.attempts,
            topic=work.partition.topic,
            partition=work.partition.partition,
            offset=work.offset,
            group=self._group,
            timestamp=work.finished,
        )
        original = [(key, value or b"") for key, value in work.message.headers or ()]
        headers = [*original, *to_headers(letter)]
        key, value = work.message.key, work.message.value
        if value is None and key is None:
            value = b""  # kafka-python sends no message with neither
        message = Message(self._topics.dead_letters, key, value, headers)
        if message.size > self._max_dead_letter:
            # it came in whole and our headers are too much: its place says where it still is
            omitted = (OMITTED_HEADER, str(work.size).encode())
            message = message._replace(value=b"", headers=[*headers, omitted])
        if message.size > self._max_dead_letter:
            message = message._replace(key=None, headers=[*to_headers(letter), omitted])
        return message
