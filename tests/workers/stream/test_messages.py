from __future__ import annotations

import msgspec
import pytest

from schemas.dead_letter import from_headers, original_headers
from schemas.failures import ErrorCode, FailureClass, RecordError
from schemas.metrics import MetricsEvent
from schemas.settings import KafkaSettings
from schemas.transcript import decode_transcript
from tests.workers.stream.support import Message, manifest, transcript_of
from workers.stream.decoding import to_work
from workers.stream.messages import OMITTED_HEADER, Outputs
from workers.stream.metrics import aggregate
from workers.stream.work import Work

KAFKA = KafkaSettings(group="g")
OUTPUTS = Outputs(
    KAFKA, max_bytes=dict.fromkeys((KAFKA.topics.transcripts, KAFKA.topics.dead_letters), 100_000)
)
TRACE = ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")


def a_result(**keys) -> Work:
    headers = (TRACE, ("mine", b"1"), ("null", None))
    work = to_work(Message(manifest("a", **keys), key=b"k", headers=headers, offset=5))
    work.outcome = transcript_of(work.record)
    return work


def given_up(message: Message) -> Work:
    work = to_work(message)
    work.outcome = RecordError(id="a", code=ErrorCode.AUDIO_MISSING, message="no file a.wav")
    work.attempts, work.finished = 2, 12.5
    return work


def test_a_transcript_is_keyed_by_its_id_and_says_where_it_comes_from():
    message = OUTPUTS.result(a_result(speaker=7))
    assert (message.topic, message.key) == ("asr.transcripts", b"a")
    transcript = decode_transcript(message.value)
    assert (transcript.pred_text, transcript.extra) == ("heard a", {"speaker": 7})
    assert dict(message.headers) == {
        "chorus-source": b"in-0-5",
        "schema-version": b"1",
        "content-type": b"application/json",
        "traceparent": TRACE[1],
    }


def test_a_dead_letter_is_the_message_as_it_came_and_the_reason():
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


@pytest.mark.parametrize("key", [b"k", None])
def test_a_tombstone_can_be_sent(key):
    message = OUTPUTS.result(to_work(Message(None, key=key)))
    assert message.key == key
    assert message.value == (None if key else b"")


def test_a_dead_letter_too_large_for_its_topic_keeps_its_headers():
    message = OUTPUTS.result(given_up(Message(b"x" * 99_900, headers=(("mine", b"1"),))))
    assert message.size <= 100_000
    assert message.value == b""
    assert dict(message.headers)[OMITTED_HEADER] == b"99900"
    assert original_headers(message.headers) == [("mine", b"1")]
    assert from_headers(message.headers).offset == 0


def test_headers_too_large_leave_the_reason():
    message = OUTPUTS.result(given_up(Message(b"x", headers=(("mine", b"h" * 99_990),))))
    assert message.size <= 100_000
    assert from_headers(message.headers).id == "a"


def test_a_transcript_too_large_becomes_a_dead_letter():
    work = a_result(speaker="s" * 99_900)
    message = OUTPUTS.result(work)
    assert message.topic == "asr.dead-letters"
    letter = from_headers(message.headers)
    assert letter.code is ErrorCode.RECORD_SCHEMA
    assert "100000" in letter.message


def test_a_metrics_event_reads_back():
    (event,) = aggregate("w0", 1.0, 2.0, [a_result()])
    message = OUTPUTS.metrics(event)
    assert (message.topic, message.key) == ("asr.metrics", b"w0")
    assert msgspec.json.decode(message.value, type=MetricsEvent) == event
