"""Stores that throttle, break off, refuse or are gone: tried again, then one typed error."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from schemas.failures import ErrorCode
from schemas.settings import AudioSettings
from serve_app.audio import AudioError, AudioLoader
from serve_app.audio.remote import web as web_module
from tests.serve_app.audio.conftest import Refused
from tests.serve_app.audio.remote.server import StoreServer

pytestmark = pytest.mark.timeout(60)
Sound = Callable[..., bytes]
FAULTS: list[list[int | str]] = [[503], [429], ["break"], [500, "break", 503]]
PATH, URL = "/calls/2026/a.wav", "s3://calls/2026/a.wav"


def test_a_bucket_that_throttles_or_breaks_off_is_tried_again(
    s3: StoreServer, bucket: AudioLoader, sound: Sound
) -> None:
    s3.objects[PATH] = sound(1)
    for faults in FAULTS:
        s3.faults[PATH] = list(faults)
        assert len(bucket.load(URL)) == 16_000
        assert s3.faults[PATH] == []


def test_a_web_server_that_throttles_or_breaks_off_is_tried_again(
    web: StoreServer, site: AudioLoader, sound: Sound
) -> None:
    web.objects["/calls/a.wav"] = sound(1)
    for faults in FAULTS:
        web.faults["/calls/a.wav"] = list(faults)
        assert len(site.load("a.wav")) == 16_000
        assert web.faults["/calls/a.wav"] == []


def test_a_bucket_that_goes_on_failing_is_an_outage(
    s3: StoreServer, bucket: AudioLoader, refused: Refused
) -> None:
    s3.faults[PATH] = [503] * 20
    error = refused(ErrorCode.AUDIO_IO, URL, by=bucket)
    assert "SlowDown" in error.message
    assert 3 < len(s3.asked) < 20


def test_a_web_server_that_goes_on_failing_is_an_outage(
    web: StoreServer, site: AudioLoader, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_module, "_FIRST_PAUSE_S", 0.001)
    web.faults["/calls/a.wav"] = [503] * 20
    assert "503" in refused(ErrorCode.AUDIO_IO, "a.wav", by=site).message
    assert 3 < len(web.asked) < 20


def test_nobody_answers(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, s3: StoreServer, web: StoreServer
) -> None:
    monkeypatch.setattr(web_module, "_FIRST_PAUSE_S", 0.001)
    with StoreServer().running() as gone:
        pass
    root = f"https://localhost:{gone.port}"
    site = AudioLoader(AudioSettings(roots=[root], allow_private_addresses=True))
    refused(ErrorCode.AUDIO_IO, f"{root}/a.wav", by=site)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{gone.port}")
    bucket = AudioLoader(AudioSettings(roots=["s3://calls"]))
    refused(ErrorCode.AUDIO_IO, URL, by=bucket)


def test_a_certificate_that_nobody_vouches_for(
    web: StoreServer, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setattr(web_module, "_FIRST_PAUSE_S", 0.001)
    root = f"https://localhost:{web.port}/calls"
    site = AudioLoader(AudioSettings(roots=[root], allow_private_addresses=True))
    refused(ErrorCode.AUDIO_IO, f"{root}/a.wav", by=site)
    assert web.asked == []


@pytest.mark.parametrize(
    ("status", "name", "expected"),
    [
        (403, "AccessDenied", ErrorCode.AUDIO_UNREADABLE),
        (400, "KeyTooLongError", ErrorCode.AUDIO_UNREADABLE),
        (403, "InvalidAccessKeyId", ErrorCode.AUDIO_IO),
        (400, "ExpiredToken", ErrorCode.AUDIO_IO),
        (404, "NoSuchKey", ErrorCode.AUDIO_MISSING),
        (404, "NoSuchBucket", ErrorCode.AUDIO_IO),
    ],
)
def test_refusals_of_a_bucket(
    status: int,
    name: str,
    expected: ErrorCode,
    s3: StoreServer,
    bucket: AudioLoader,
    refused: Refused,
) -> None:
    s3.codes[status] = name
    s3.faults[PATH] = [status]
    error = refused(expected, URL, by=bucket)
    assert str(s3.port) not in error.message
    assert len(s3.asked) == 1


def test_refusals_of_a_web_server(web: StoreServer, site: AudioLoader, refused: Refused) -> None:
    for status, expected in (
        (401, ErrorCode.AUDIO_UNREADABLE),
        (403, ErrorCode.AUDIO_UNREADABLE),
        (404, ErrorCode.AUDIO_MISSING),
        (410, ErrorCode.AUDIO_MISSING),
    ):
        web.faults["/calls/a.wav"] = [status]
        refused(expected, "a.wav", by=site)


def test_the_secrets_of_a_url_are_not_repeated(site: AudioLoader, web: StoreServer) -> None:
    root = f"https://localhost:{web.port}/calls"
    with pytest.raises(AudioError, match="no such object") as caught:
        site.load(f"{root}/a.wav?X-Signature=word")
    assert "word" not in str(caught.value)
    assert str(caught.value).startswith(f"{root}/a.wav: ")


def test_empty_objects(
    s3: StoreServer, bucket: AudioLoader, web: StoreServer, site: AudioLoader, refused: Refused
) -> None:
    s3.objects[PATH] = web.objects["/calls/a.wav"] = b""
    refused(ErrorCode.AUDIO_EMPTY, URL, by=bucket)
    refused(ErrorCode.AUDIO_EMPTY, "a.wav", by=site)


def test_an_object_that_is_replaced_meanwhile(
    s3: StoreServer, bucket: AudioLoader, sound: Sound, refused: Refused
) -> None:
    first, second = sound(60), sound(61)

    class Changing(dict[str, bytes]):
        def get(self, path: str, default: object = None) -> bytes:
            return first if len(s3.asked) == 1 else second

    s3.objects = Changing()
    assert "replaced" in refused(ErrorCode.AUDIO_IO, URL, by=bucket).message
