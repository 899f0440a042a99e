"""What a worker says, which a file may have made it say."""

from __future__ import annotations

import msgspec
import pytest

from schemas.failures import ErrorCode
from serve_app.audio import AudioError
from serve_app.audio.sandbox.messages import Decoded, Refused, parse_reply


@pytest.mark.parametrize(
    "reply", [Decoded(16_000), Refused(ErrorCode.AUDIO_EMPTY, "is empty" + "x" * 900)]
)
def test_an_answer(reply: Decoded | Refused) -> None:
    assert parse_reply(msgspec.json.encode(reply)) == reply


@pytest.mark.parametrize(
    "said",
    [
        b"no JSON",
        b'{"type": "Decoded"}',
        b'{"type": "Decoded", "samples": 0}',
        b'{"type": "Decoded", "samples": 16000, ',
        b'{"type": "Refused", "code": "router_died", "message": "x"}',
        b'{"type": "Refused", "code": "audio_missing", "message": "x"}',
        b'{"type": "Refused", "code": "audio_empty", "message": "%s"}' % (b"x" * 2_000),
        b'{"type": "Broken", "where": "MemoryError at decode:7"}',
        b'{"type": "Broken", "where": "a\\nforged line of the log"}',
    ],
)
def test_a_worker_that_talks_nonsense(said: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(AudioError) as caught:
        parse_reply(said)
    assert caught.value.code is ErrorCode.AUDIO_UNDECODABLE
    assert "forged" not in caplog.text
