"""`POST /v1/audio/transcriptions`: what is refused, and what goes wrong."""

from __future__ import annotations

import tempfile
from pathlib import Path

import httpx
import numpy as np
import pytest

from schemas.failures import ErrorCode
from schemas.transcript import Word
from serve_app.audio.clip import Clip
from serve_app.audio.header import SUPPORTED
from serve_app.http.errors import RETRY_AFTER_S
from tests.serve_app.http.answers import events, wrong
from tests.serve_app.http.beeps import beeping
from tests.serve_app.http.conftest import (
    RATE,
    FakeRouter,
    Make,
    client_of,
    encoded,
    noise,
    post,
)

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_a_model_that_did_not_load_is_named_without_files_of_the_server(
    client: httpx.AsyncClient, router: FakeRouter, wav: bytes
) -> None:
    router.errors = [ErrorCode.MODEL_MISSING]
    answer = await post(client, wav)
    found = wrong(answer)
    assert (answer.status_code, found["code"], found["param"]) == (503, "model_missing", "model")
    assert found["message"].endswith("is not available: it did not load")


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/v1/manifests"])
async def test_a_full_disk_is_an_outage(
    client: httpx.AsyncClient,
    router: FakeRouter,
    wav: bytes,
    path: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(**_: object) -> object:
        return open("/dev/full", "w+b")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    form = path != "/v1/manifests"
    line = b'{"audio_filepath": "/a.wav"}'
    answer = await client.post(path, **({"files": {"file": wav}} if form else {"content": line}))
    assert (answer.status_code, wrong(answer)["code"]) == (503, "storage")
    assert answer.headers["retry-after"] == str(RETRY_AFTER_S)
    assert "No space left on device" in wrong(answer)["message"]
    assert "cannot be stored: No space left on device" in caplog.text
    assert router.calls == []


async def test_no_folder_for_temporary_files_is_an_outage(
    client: httpx.AsyncClient, wav: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    answer = await post(client, wav)
    assert (answer.status_code, wrong(answer)["code"]) == (503, "storage")
    assert "gone" not in wrong(answer)["message"]


@pytest.mark.parametrize(
    ("audio", "status", "code"),
    [
        (b"", 400, "audio_empty"),
        (b"no audio", 400, "audio_undecodable"),
        (encoded(noise(1.0), "AIFF"), 415, "audio_unsupported"),
        (encoded(noise(1.0))[:5000], 400, "audio_undecodable"),
        (encoded(np.zeros(10, np.float32)), 400, "audio_empty"),
    ],
)
async def test_audio_that_cannot_be_read(
    client: httpx.AsyncClient, router: FakeRouter, audio: bytes, status: int, code: str
) -> None:
    answer = await post(client, audio)
    assert (answer.status_code, wrong(answer)["code"]) == (status, code)
    assert wrong(answer)["param"] == "file"
    assert router.calls == []


async def test_what_is_not_read_is_told_what_to_do(client: httpx.AsyncClient) -> None:
    """The formats are those of the documentation: `test_documented_formats`."""
    no_audio = wrong(await post(client, b"no audio"))["message"]
    assert no_audio.endswith(f"give {SUPPORTED}")
    other = wrong(await post(client, encoded(noise(1.0), "AIFF")))["message"]
    assert other == "the file is AIFF; convert it to FLAC or PCM WAV"


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"model": "whisper-1"}, 404, "model"),
        ({"response_format": "xml"}, 400, "response_format"),
        ({"temperature": "2"}, 400, "temperature"),
        ({"best_of": "5"}, 400, "best_of"),
    ],
)
async def test_what_is_not_supported_is_refused(
    client: httpx.AsyncClient,
    router: FakeRouter,
    wav: bytes,
    fields: dict[str, str],
    status: int,
    param: str,
) -> None:
    answer = await post(client, wav, **fields)
    assert (answer.status_code, wrong(answer)["param"]) == (status, param)
    assert router.calls == []


async def test_a_form_without_a_file(client: httpx.AsyncClient) -> None:
    answer = await post(client, b"", files={"language": (None, "en")})
    assert (answer.status_code, wrong(answer)["param"]) == (400, "file")


async def test_a_body_that_is_no_form(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/audio/transcriptions", json={"model": "auto"})
    assert (answer.status_code, wrong(answer)["code"]) == (415, "unsupported_media_type")


async def test_a_body_that_is_too_large(make: Make, router: FakeRouter, wav: bytes) -> None:
    answer = await post(client_of(make(max_upload_bytes=len(wav))), wav)
    assert (answer.status_code, wrong(answer)["code"]) == (413, "audio_too_large")
    assert router.calls == []


async def test_audio_that_is_too_long(client: httpx.AsyncClient, router: FakeRouter) -> None:
    """An hour is allowed; FLAC makes the more of it small."""
    answer = await post(client, encoded(np.zeros(3601 * RATE, np.float32), "FLAC"))
    assert (answer.status_code, wrong(answer)["code"]) == (413, "audio_too_long")
    assert router.calls == []


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever tries again, does it at once."""
    monkeypatch.setattr("serve_app.http.retries.FIRST_PAUSE_S", 0.001)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    "code",
    [ErrorCode.MODEL_UNAVAILABLE, ErrorCode.OVERLOADED, ErrorCode.MODEL_DIED, ErrorCode.AUDIO_IO],
)
async def test_what_is_not_the_clips_fault_is_tried_again(
    client: httpx.AsyncClient, router: FakeRouter, wav: bytes, code: ErrorCode
) -> None:
    router.errors = [code]
    answer = await post(client, wav)
    assert answer.status_code == 200
    assert [len(records) for records, _ in router.calls] == [1, 1]


@pytest.mark.usefixtures("hasty")
async def test_no_model_for_long_is_an_outage(
    client: httpx.AsyncClient, router: FakeRouter, wav: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve_app.http.retries.RETRY_S", 1.0)
    router.always = ErrorCode.MODEL_UNAVAILABLE
    answer = await post(client, wav)
    assert (answer.status_code, wrong(answer)["code"]) == (503, "model_unavailable")
    assert answer.headers["retry-after"] == str(RETRY_AFTER_S)
    assert 1 < len(router.calls) < 50, "ever longer pauses"


@pytest.mark.usefixtures("hasty")
async def test_a_clip_that_kills_a_model_twice_is_at_fault(
    client: httpx.AsyncClient, router: FakeRouter, wav: bytes
) -> None:
    router.errors = [ErrorCode.MODEL_DIED, ErrorCode.MODEL_UNAVAILABLE, ErrorCode.MODEL_DIED]
    answer = await post(client, wav)
    assert (answer.status_code, wrong(answer)["code"]) == (400, "model_died")
    assert "retry-after" not in answer.headers
    assert len(router.calls) == 3


@pytest.mark.usefixtures("hasty")
async def test_a_fault_of_an_engine_is_not_the_client_s(
    client: httpx.AsyncClient, router: FakeRouter, wav: bytes
) -> None:
    router.errors = [ErrorCode.MODEL_FAULT]
    assert (await post(client, wav)).status_code == 200, "it is tried again"
    router.errors = [ErrorCode.MODEL_FAULT] * 2
    answer = await post(client, wav)
    assert (answer.status_code, wrong(answer)["code"]) == (500, "model_fault")
    assert (wrong(answer)["type"], wrong(answer)["param"]) == ("server_error", None)


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        (ErrorCode.MODEL_REJECTED, 400, "invalid_request_error"),
        (ErrorCode.AUDIO_TOO_LONG, 413, "invalid_request_error"),
        (ErrorCode.AUDIO_UNSUPPORTED, 415, "invalid_request_error"),
        (ErrorCode.ROUTER_FAULT, 500, "server_error"),
    ],
)
async def test_what_will_fail_again_is_not_tried_again(
    client: httpx.AsyncClient,
    router: FakeRouter,
    wav: bytes,
    code: ErrorCode,
    status: int,
    kind: str,
) -> None:
    router.errors = [code]
    answer = await post(client, wav)
    assert (answer.status_code, wrong(answer)["type"]) == (status, kind)
    assert wrong(answer)["code"] == code.value
    assert len(router.calls) == 1


async def test_one_bad_piece_spoils_the_whole(make: Make, router: FakeRouter) -> None:
    router.errors = [ErrorCode.MODEL_REJECTED]
    answer = await post(client_of(make(piece_seconds=2)), encoded(beeping()))
    assert answer.status_code == 400


async def test_a_stream_that_fails_says_so(make: Make, router: FakeRouter) -> None:
    router.errors = [ErrorCode.MODEL_REJECTED]
    answer = await post(client_of(make()), encoded(noise(1.0)), stream="true")
    [event] = events(answer.text)
    assert event["error"]["code"] == "model_rejected"


async def test_an_answer_that_takes_too_long(make: Make, router: FakeRouter, wav: bytes) -> None:
    router.gate.clear()
    client = client_of(make(timeout_s=0.3))
    answer = await post(client, wav)
    assert (answer.status_code, wrong(answer)["code"]) == (503, "timeout")
    [event] = events((await post(client, wav, stream="true")).text)
    assert event["error"]["code"] == "timeout"
    assert router.cancelled == len(router.calls)


async def test_a_fault_of_ours_tells_no_secrets(
    client: httpx.AsyncClient, router: FakeRouter, wav: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(clip: Clip) -> list[Word]:
        raise KeyError("what was said")

    router.hear = fail
    answer = await post(client, wav)
    assert (answer.status_code, wrong(answer)["code"]) == (500, "internal_error")
    assert answer.headers["x-request-id"] in wrong(answer)["message"]
    assert "what was said" not in answer.text + caplog.text
    assert "KeyError" in caplog.text
