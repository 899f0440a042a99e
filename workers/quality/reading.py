"""Where transcripts and metrics events come from: topics, and files of `chorus transcribe`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from schemas.manifest_text import ManifestFileError
from schemas.metrics import MetricsEvent
from schemas.settings import KafkaSettings
from schemas.transcript import Transcript, decode_transcript
from schemas.versions import check_version
from workers.kafka.protocols import Record
from workers.kafka.reader import read_topic

#: A line with this key is a record without a transcript.
_FAILURE = b'"processing_error"'
_EVENTS = msgspec.json.Decoder(MetricsEvent)


class UnreadableMessageError(ValueError):
    """A message of an output topic is not what it should be; the error names its place."""


class TimedTranscript(NamedTuple):
    """A transcript, and the Unix time in seconds of its message; None from a file."""

    transcript: Transcript
    time: float | None


def transcripts_of_topic(
    kafka: KafkaSettings, since: float | None = None, until: float | None = None
) -> Iterator[TimedTranscript]:
    """The committed transcripts of the settings' topic, by partition.

    Blocks and raises like `workers.kafka.reader.read_topic`.

    Args:
        kafka: the settings' section.
        since: Unix time in seconds of the earliest message; None from the beginning.
        until: messages from this time on are left out.

    Raises:
        UnreadableMessageError: a message is no transcript.
        schemas.versions.SchemaVersionError: a transcript is too new.
    """
    for message in _messages(kafka, kafka.topics.transcripts, since, until):
        yield transcript_of(message)


def transcript_of(message: Record) -> TimedTranscript:
    """The transcript of a message.

    Raises:
        UnreadableMessageError: it is no transcript.
        schemas.versions.SchemaVersionError: it is too new.
    """
    check_version(message.headers, "transcript")
    try:
        transcript = decode_transcript(message.value or b"")
    except msgspec.DecodeError as error:
        raise _unreadable(message, "a transcript", error) from None
    return TimedTranscript(transcript, message.timestamp / 1e3)


def events_of_topic(
    kafka: KafkaSettings, since: float | None = None, until: float | None = None
) -> Iterator[MetricsEvent]:
    """The metrics events of the settings' topic. As `transcripts_of_topic`."""
    for message in _messages(kafka, kafka.topics.metrics, since, until):
        yield event_of(message)


def event_of(message: Record) -> MetricsEvent:
    """The metrics event of a message. As `transcript_of`."""
    check_version(message.headers, "metrics event")
    try:
        return _EVENTS.decode(message.value or b"")
    except msgspec.DecodeError as error:
        raise _unreadable(message, "a metrics event", error) from None


def transcripts_of_files(files: Iterable[Path]) -> Iterator[TimedTranscript]:
    """The transcripts in files that `chorus transcribe` has written, in their order.

    Records without a transcript are left out.

    Raises:
        ManifestFileError: a line is no transcript.
        OSError: a file cannot be read.
    """
    for file in files:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip() or (_FAILURE in line and _failed(line)):
                    continue
                try:
                    yield TimedTranscript(decode_transcript(line), None)
                except msgspec.DecodeError as error:
                    raise ManifestFileError(
                        f"{file.name}:{number}: is no transcript of `chorus transcribe`: {error}"
                    ) from None


def _failed(line: bytes) -> bool:
    try:
        return "processing_error" in msgspec.json.decode(line, type=dict)
    except msgspec.DecodeError:
        return False


def _messages(
    kafka: KafkaSettings, topic: str, since: float | None, until: float | None
) -> Iterator[Record]:
    for message in read_topic(kafka, topic, since=since):
        if message is None or message.value is None:
            continue
        if until is None or message.timestamp < until * 1e3:
            yield message


def _unreadable(message: Record, what: str, error: Exception) -> UnreadableMessageError:
    place = f"{message.topic}-{message.partition}-{message.offset}"
    return UnreadableMessageError(f"{place}: is not {what}: {error}")
