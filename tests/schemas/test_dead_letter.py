from __future__ import annotations

import msgspec
import pytest

from schemas.dead_letter import DeadLetter, from_headers, original_headers, to_headers
from schemas.failures import ErrorCode, FailureClass

LETTER = DeadLetter(
    id="a",
    failure=FailureClass.POISON,
    code=ErrorCode.AUDIO_MISSING,
    message="calls/ä.wav: no such file",
    attempts=1,
    topic="asr.manifests",
    partition=3,
    offset=12,
    group="chorus",
    timestamp=1.5,
)


def test_headers_round_trip_beside_the_original_ones() -> None:
    original = [("traceparent", b"00-ab"), ("x", b"\xff\x00")]
    headers = [*original, *to_headers(LETTER)]
    assert from_headers(headers) == LETTER
    assert original_headers(headers) == original


def test_another_message_is_no_dead_letter() -> None:
    with pytest.raises(msgspec.ValidationError):
        from_headers([("x", b"1")])
