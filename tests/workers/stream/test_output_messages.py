from __future__ import annotations

from typing import Any, Literal

import msgspec
import pytest

from schemas.dead_letter import from_headers, original_headers
from schemas.failures import ErrorCode, FailureClass, RecordError
from schemas.metrics import MetricsEvent
from schemas.settings import KafkaSettings
from schemas.transcript import decode_transcript
from tests.workers.stream.support import Message, manifest, manifest_of, transcript_of
from workers.stream.decoding import to_pending_record
from workers.stream.metrics_events import aggregate
from workers.stream.output_messages import Outputs
from workers.stream.pending_record import PendingRecord

KAFKA = KafkaSettings(group="g")
OUTPUTS = Outputs(
    KAFKA, max_bytes=dict.fromkeys((KAFKA.topics.transcripts, KAFKA.topics.dead_letters), 100_000)
)
TRACE = ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")


def a_result(**keys: Any) -> PendingRecord:
    headers = (
        TRACE,
        ("mine", b"1"),
        ("content-type", b"text/plain"),
        ("mine", b"2"),
        ("chorus.code", b"of an earlier attempt"),
        ("bytes", b"\xff"),
        ("null", None),
        ("schema-version", b"1.2"),
    )
    record = to_pending_record(Message(manifest("a", **keys), key=b"k", headers=headers, offset=5))
    record.outcome = transcript_of(manifest_of(record))
    return record


def given_up(message: Message) -> PendingRecord:
    record = to_pending_record(message)
    record.outcome = RecordError(id="a", code=ErrorCode.AUDIO_MISSING, message="no file a.wav")
    record.attempts, record.finished = 2, 12.5
    return record


def test_a_transcript_has_the_key_and_the_headers_of_its_record_and_says_where_it_comes_from() -> (
    None
):
    message = OUTPUTS.result(a_result(speaker=7))
    assert (message.topic, message.key) == ("asr.transcripts", b"k")
    assert message.value is not None
    transcript = decode_transcript(message.value)
    assert (transcript.pred_text, transcript.extra) == ("heard a", {"speaker": 7})
    assert message.headers == [
        TRACE,
        ("mine", b"1"),
        ("mine", b"2"),
        ("bytes", b"\xff"),
        ("null", b""),
        ("chorus.id", b"a"),
        ("chorus.source", b"in-0-5"),
        ("schema-version", b"1"),
        ("content-type", b"application/json"),
    ]


@pytest.mark.parametrize(
    ("setting", "key", "expected"),
    [("record", b"k", b"k"), ("record", b"", b""), ("record", None, b"a"), ("id", b"k", b"a")],
)
def test_the_key_of_a_transcript(
    setting: Literal["record", "id"], key: bytes | None, expected: bytes
) -> None:
    kafka = KafkaSettings(transcript_key=setting)
    outputs = Outputs(kafka, {kafka.topics.transcripts: 100_000, kafka.topics.dead_letters: 100})
    record = a_result()
    record.message.key = key
    assert outputs.result(record).key == expected


def test_a_dead_letter_is_the_message_as_it_came_and_the_reason() -> None:
    value = b'{"id": "a", "audio_filepath": "gone.wav"} '
    headers = (("mine", b"1"), ("mine", b"2"), ("null", None))
    message = OUTPUTS.result(given_up(Message(value, key=b"k", headers=headers, offset=5)))
    assert (message.topic, message.key, message.value) == ("asr.dead-letters", b"k", value)
    assert original_headers(message.headers) == [("mine", b"1"), ("mine", b"2"), ("null", b"")]
    letter = from_headers(message.headers)
    assert (letter.id, letter.code, letter.failure) == (
        "a",
        ErrorCode.AUDIO_MISSING,
        FailureClass.POISON,
    )
    assert (letter.topic, letter.partition, letter.offset, letter.group) == ("in", 0, 5, "g")
    assert (letter.attempts, letter.timestamp, letter.message) == (2, 12.5, "no file a.wav")


@pytest.mark.parametrize("key", [b"k", b"", None])
@pytest.mark.parametrize("value", [None, b"", b"{"])
def test_every_letter_has_a_key_and_the_value_as_it_came(
    key: bytes | None, value: bytes | None
) -> None:
    message = OUTPUTS.result(to_pending_record(Message(value, key=key, offset=5)))
    assert (message.key, message.value) == (b"in-0-5" if key is None else key, value)
    assert from_headers(message.headers).keyless is (key is None)


def test_a_dead_letter_too_large_for_its_topic_keeps_its_headers() -> None:
    message = OUTPUTS.result(given_up(Message(b"x" * 99_900, headers=(("mine", b"1"),))))
    assert message.size <= 100_000
    assert message.value == b""
    assert original_headers(message.headers) == [("mine", b"1")]
    letter = from_headers(message.headers)
    assert (letter.offset, letter.value_omitted) == (0, 99_900)


def test_headers_too_large_leave_the_reason() -> None:
    message = OUTPUTS.result(given_up(Message(b"x", headers=(("mine", b"h" * 99_990),))))
    assert message.size <= 100_000
    assert from_headers(message.headers).id == "a"


def test_a_transcript_too_large_becomes_a_dead_letter() -> None:
    record = a_result(speaker="s" * 99_900)
    message = OUTPUTS.result(record)
    assert message.topic == "asr.dead-letters"
    letter = from_headers(message.headers)
    assert letter.code is ErrorCode.RECORD_SCHEMA
    assert "100000" in letter.message


def test_a_metrics_event_reads_back() -> None:
    (event,) = aggregate("w0", 1.0, 2.0, [a_result()])
    message = OUTPUTS.metrics(event)
    assert (message.topic, message.key) == ("asr.metrics", b"w0")
    assert message.value is not None
    assert msgspec.json.decode(message.value, type=MetricsEvent) == event
