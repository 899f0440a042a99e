"""`/v1/records`, asked by the client that stream workers use, over a real server."""

from __future__ import annotations

import asyncio
import hashlib

import httpx
import msgspec
import pytest
from msgspec.structs import replace

from schemas.failures import ErrorCode, FailureClass, RecordError
from schemas.manifest import MAX_EXTRA_DEPTH, ManifestRecord
from schemas.records_call import MEDIA_TYPE, PATH, RecordsAnswer, RecordsCall
from schemas.requests import CallOptions
from schemas.settings import settings_digest
from schemas.transcript import Transcript
from serve_app.audio.clip import Recording
from serve_app.http.client import HttpBackend, RefusedError
from serve_app.router.protocol import Probe
from tests.serve_app.http.conftest import FakeRouter, on_network, settings_of, until

DIGEST = settings_digest(settings_of())


def records(count: int = 2) -> list[ManifestRecord]:
    return [
        ManifestRecord(id=f"r{n}", audio_filepath=f"{n}.wav", text="one", extra={"own": [n, None]})
        for n in range(count)
    ]


def backend(url: str, key: str | None = None, timeout_s: float = 20.0) -> HttpBackend:
    return HttpBackend(url, DIGEST, key=key, timeout_s=timeout_s)


async def test_records_come_back_as_from_the_router(router: FakeRouter) -> None:
    with on_network(router) as url:
        await backend(url).check()
        found = await backend(url).transcribe(records())
        expected = await router.transcribe(records())
    assert found == expected
    asked, options = router.calls[0]
    assert asked == records()
    assert options == CallOptions(settings=DIGEST), "the Router compares them"
    assert isinstance(found[0], Transcript)
    assert found[0].extra == {"own": [0, None]}


async def test_numbers_beyond_64_bits_come_back(router: FakeRouter) -> None:
    record = replace(records(1)[0], extra={"number": [10**300]})
    with on_network(router) as url:
        [found] = await backend(url).transcribe([record])
    assert isinstance(found, Transcript)
    assert found.extra == record.extra


@pytest.mark.parametrize(
    ("levels", "status"),
    [(MAX_EXTRA_DEPTH, 200), (MAX_EXTRA_DEPTH + 1, 400), (500, 400), (100_000, 400)],
)
async def test_what_is_nested_too_deeply_is_refused(
    router: FakeRouter, levels: int, status: int
) -> None:
    record = {"id": "a", "audio_filepath": "a.wav", "extra": {"n": 0}}
    body = msgspec.msgpack.encode({"records": [record]})
    assert body.endswith(b"\x00")
    deep = body[:-1] + b"\x91" * levels + b"\x00"
    headers = {"content-type": MEDIA_TYPE}
    with on_network(router) as url:
        async with httpx.AsyncClient(headers=headers) as client:
            answer = await client.post(f"{url}{PATH}", content=deep)
    assert answer.status_code == status
    assert ("nested" in answer.text) is (status == 400)


@pytest.mark.parametrize("code", [ErrorCode.MODEL_DIED, ErrorCode.AUDIO_MISSING])
async def test_errors_keep_their_codes_and_are_not_tried_again(
    router: FakeRouter, code: ErrorCode
) -> None:
    router.always = code
    with on_network(router) as url:
        found = await backend(url).transcribe(records())
    assert [each.code for each in found if isinstance(each, RecordError)] == [code, code]
    assert len(router.calls) == 1, "the worker tries again, and suspects alone"


async def test_a_key_is_needed_and_charged(router: FakeRouter) -> None:
    keys = {"worker": {"sha256": hashlib.sha256(b"k").hexdigest(), "max_concurrent": 1}}
    router.gate.clear()
    with on_network(router, keys=keys) as url:
        await backend(url, "k").check()
        for wrong in (None, "other"):
            with pytest.raises(RefusedError, match="key"):
                await backend(url, wrong).check()
            with pytest.raises(ConnectionError, match="key"):
                await backend(url, wrong).transcribe(records())
        first = asyncio.create_task(backend(url, "k").transcribe(records()))
        await until(lambda: len(router.calls) == 1)
        with pytest.raises(ConnectionError, match="it answered 429: "):
            await backend(url, "k").transcribe(records())
        router.gate.set()
        assert len(await first) == 2
        async with httpx.AsyncClient(headers={"authorization": "Bearer k"}) as client:
            metrics = (await client.get(f"{url}/metrics")).text
    assert 'chorus_http_audio_seconds_total{client="worker"} 2.0' in metrics


async def test_other_settings_are_refused_before_work_begins(router: FakeRouter) -> None:
    with (
        on_network(router) as url,
        pytest.raises(RefusedError, match="other models, plans, rules or limits"),
    ):
        await HttpBackend(url, "0" * 64).check()


async def test_a_path_that_is_none_of_the_api(router: FakeRouter) -> None:
    with on_network(router) as url, pytest.raises(RefusedError, match="nothing at this path"):
        await backend(f"{url}/v1").check()


async def test_an_answer_is_not_waited_for_for_ever(router: FakeRouter) -> None:
    router.gate.clear()
    with on_network(router) as url:
        with pytest.raises(TimeoutError, match=r"no answer within 0\.2 s"):
            await backend(url, timeout_s=0.2).transcribe(records())
        router.gate.set()


@pytest.mark.parametrize(
    ("up", "alive"),
    [
        (Probe(router=True), True),
        (Probe(router=True, missing=("medical",)), True),
        (Probe(router=True, silent=("medical",)), False),
        (Probe(router=False), False),
    ],
)
async def test_a_probe_says_what_the_router_says(
    router: FakeRouter, up: Probe, alive: bool
) -> None:
    router.up = up
    with on_network(router) as url:
        found = await backend(url).probe()
    assert found.router == up.router
    assert found.missing == up.missing
    assert found.alive is alive


async def test_nobody_there(caplog: pytest.LogCaptureFixture) -> None:
    nobody = backend("http://127.0.0.1:1")
    assert await nobody.probe() == Probe(router=False)
    for _ in range(2):
        with pytest.raises(ConnectionError, match="cannot be reached"):
            await nobody.transcribe(records())
    assert len(caplog.records) == 1, "said once"
    with pytest.raises(ValueError, match="audio cannot be sent"):
        await nobody.transcribe(records(), clips=[Recording(None)])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "media_type", "status", "said"),
    [
        (b"{}", "application/json", 415, "manifests go to /v1/manifests"),
        (b"", MEDIA_TYPE, 400, "no list of records"),
        (b"\xc1", MEDIA_TYPE, 400, "no list of records"),
        (msgspec.msgpack.encode({"records": [{"id": 1}]}), MEDIA_TYPE, 400, "no list of records"),
        (b"x" * 2048, MEDIA_TYPE, 413, "more than 1024 bytes"),
    ],
)
async def test_what_is_no_list_of_records(
    router: FakeRouter, body: bytes, media_type: str, status: int, said: str
) -> None:
    with on_network(router, max_upload_bytes=1024) as url:
        async with httpx.AsyncClient() as client:
            answer = await client.post(
                url + PATH, content=body, headers={"content-type": media_type}
            )
    assert (answer.status_code, router.calls) == (status, [])
    assert said in answer.json()["error"]["message"]


def test_an_answer_is_whole() -> None:
    error = RecordError(id="a", code=ErrorCode.AUDIO_MISSING, message="m", model="x")
    answer = RecordsAnswer.of([error])
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(answer), type=RecordsAnswer)
    assert again.results() == [error]
    assert error.failure is FailureClass.POISON
    for broken in (replace(answer, errors=[None]), replace(answer, transcripts=[])):
        with pytest.raises(ValueError, match=r"."):
            broken.results()
    call = RecordsCall(records=records())
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(call), type=RecordsCall) == call
