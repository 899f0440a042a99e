from __future__ import annotations

import pytest

from schemas.failures import ErrorCode
from tests.workers.stream.support import Message, manifest
from workers.stream.decoding import to_work


def test_a_good_record_has_no_outcome_yet():
    work = to_work(Message(manifest("a", domain="legal"), offset=7))
    assert work.outcome is None
    assert work.record is not None
    assert (work.record.id, work.record.domain) == ("a", "legal")
    assert (work.name, work.size) == ("in-0-7", len(manifest("a", domain="legal")))


def test_a_record_without_an_id_is_named_after_its_place():
    work = to_work(Message(b'{"audio_filepath": "a.wav"}', partition=2, offset=7))
    assert work.record is not None
    assert work.record.id == "in-2-7"


@pytest.mark.parametrize(
    ("value", "code", "id_"),
    [
        (None, ErrorCode.RECORD_JSON, "in-0-3"),
        (b"", ErrorCode.RECORD_JSON, "in-0-3"),
        (b"\xff\xfe", ErrorCode.RECORD_JSON, "in-0-3"),
        (b"[" * 100_000, ErrorCode.RECORD_JSON, "in-0-3"),
        (b'{"id": "\\ud800", "audio_filepath": "a.wav"}', ErrorCode.RECORD_JSON, "in-0-3"),
        (b"[1, 2]", ErrorCode.RECORD_JSON, "in-0-3"),
        (b'{"id": "x"}', ErrorCode.RECORD_SCHEMA, "x"),
        (b'{"id": 5, "audio_filepath": "a.wav"}', ErrorCode.RECORD_SCHEMA, "in-0-3"),
        (b'{"id": "x", "audio_filepath": ["a.wav"]}', ErrorCode.RECORD_SCHEMA, "x"),
        (
            b'{"id": "' + b"i" * 600 + b'", "audio_filepath": "a.wav"}',
            ErrorCode.RECORD_SCHEMA,
            "in-0-3",
        ),
    ],
)
def test_poison_is_given_up_at_once(value, code, id_):
    work = to_work(Message(value, offset=3))
    assert work.dead
    assert (work.outcome.code, work.outcome.id) == (code, id_)
    assert work.outcome.message
    assert work.finished > 0
