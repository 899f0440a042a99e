from __future__ import annotations

import pytest

from schemas.failures import ErrorCode
from tests.workers.stream.support import Message, error_of, manifest
from workers.stream.decoding import to_pending_record


def test_a_good_record_has_no_outcome_yet() -> None:
    record = to_pending_record(Message(manifest("a", domain="legal"), offset=7))
    assert record.outcome is None
    assert record.manifest is not None
    assert (record.manifest.id, record.manifest.domain) == ("a", "legal")
    assert (record.name, record.size) == ("in-0-7", len(manifest("a", domain="legal")))


def test_a_record_without_an_id_is_named_after_its_place() -> None:
    record = to_pending_record(Message(b'{"audio_filepath": "a.wav"}', partition=2, offset=7))
    assert record.manifest is not None
    assert record.manifest.id == "in-2-7"


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
        (b'{"id": 5}', ErrorCode.RECORD_SCHEMA, "5"),
        (b'{"id": 5.5, "audio_filepath": "a.wav"}', ErrorCode.RECORD_SCHEMA, "in-0-3"),
        (b'{"id": "x", "audio_filepath": ["a.wav"]}', ErrorCode.RECORD_SCHEMA, "x"),
        (
            b'{"id": "' + b"i" * 600 + b'", "audio_filepath": "a.wav"}',
            ErrorCode.RECORD_SCHEMA,
            "in-0-3",
        ),
    ],
)
def test_poison_is_given_up_at_once(value: bytes | None, code: ErrorCode, id_: str) -> None:
    record = to_pending_record(Message(value, offset=3))
    error = error_of(record)
    assert (error.code, error.id) == (code, id_)
    assert error.message
    assert record.finished > 0


def test_a_record_of_a_newer_major_version_is_given_up_and_says_so() -> None:
    value = manifest("a", domain="legal")
    record = to_pending_record(Message(value, headers=(("schema-version", b"2"),), offset=3))
    error = error_of(record)
    assert (error.code, error.id) == (ErrorCode.RECORD_VERSION, "a")
    assert "schema version 2" in error.message
    assert "up to 1" in error.message
    for version in (b"1", b"1.4", b"", None):
        assert (
            to_pending_record(Message(value, headers=(("schema-version", version),))).manifest
            is not None
        )
