"""Clients that go away, stop sending or stop reading."""

from __future__ import annotations

import asyncio
import gc
import json

import httpx
import pytest
from litestar.types import ASGIApp

from schemas.failures import ErrorCode
from serve_app.http.manifests import CALL_RECORDS, CALLS
from tests.serve_app.http.conftest import (
    TRANSCRIPTIONS,
    FakeRouter,
    Make,
    client_of,
    encoded,
    noise,
    post,
    unnamed_files,
    until,
)
from tests.serve_app.http.connection import Connection

pytestmark = pytest.mark.asyncio(loop_scope="package")


def ask(api: ASGIApp, audio: bytes, *, whole: bool = True, **fields: str) -> Connection:
    """A request for a transcript, sent but for its end unless `whole`."""
    data = {"model": "auto", **fields}
    files = {"file": ("a.wav", audio)}
    request = httpx.Request("POST", f"http://test{TRANSCRIPTIONS}", data=data, files=files)
    connection = Connection(api, request)
    body = request.read()
    connection.send(body if whole else body[:-1000], more=not whole)
    return connection


def ask_for_lines(api: ASGIApp, lines: int) -> Connection:
    connection = Connection(api, httpx.Request("POST", "http://test/v1/manifests"))
    connection.send(b'{"audio_filepath": "/a.wav"}\n' * lines)
    return connection


async def counted(api: ASGIApp, path: str) -> dict[str, float]:
    """Requests answered at `path`, by status."""
    text = (await client_of(api).get("/metrics")).text
    start = f'chorus_http_requests_total{{route="{path}",status="'
    lines = [line.removeprefix(start) for line in text.splitlines() if line.startswith(start)]
    return {line[:3]: float(line.split()[-1]) for line in lines}


async def test_a_request_that_is_given_up_is_given_up_by_the_models(
    make: Make, router: FakeRouter
) -> None:
    """Serve cancels the request of a client that goes away."""
    api = make(piece_seconds=2, max_requests=1)
    router.gate.clear()
    connection = ask(api, encoded(noise(21.0)))
    await until(lambda: len(router.calls) == 2)
    connection.task.cancel()
    await connection.end()
    assert router.cancelled == 2
    router.gate.set()
    assert (await post(client_of(api), encoded(noise(1.0)))).status_code == 200
    assert await counted(api, TRANSCRIPTIONS) == {"499": 1.0, "200": 1.0}


async def test_one_piece_that_fails_ends_the_others(make: Make, router: FakeRouter) -> None:
    """At once, and without a complaint that nobody asked for its result."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, found: complaints.append(found))
    router.always = ErrorCode.MODEL_REJECTED
    answer = await post(client_of(make(piece_seconds=2)), encoded(noise(60.0)))
    assert answer.status_code == 400
    await asyncio.sleep(0)  # else the loop still holds on to the first
    gc.collect()
    asyncio.get_running_loop().set_exception_handler(None)
    assert complaints == []


async def test_an_upload_that_breaks_off(make: Make, router: FakeRouter, wav: bytes) -> None:
    api = make(max_requests=1)
    before = unnamed_files()
    connection = ask(api, wav, whole=False)
    await until(lambda: not unnamed_files() <= before)
    connection.leave()
    await connection.start()
    await connection.read_all()
    await connection.end()
    assert unnamed_files() <= before
    assert router.calls == []
    assert (await post(client_of(api), wav)).status_code == 200
    found = await counted(api, TRANSCRIPTIONS)
    assert not any(status.startswith("5") for status in found), "no fault of ours"


async def test_an_upload_that_stalls(make: Make, router: FakeRouter, wav: bytes) -> None:
    api = make(max_requests=1, upload_timeout_s=0.2)
    before = unnamed_files()
    connection = ask(api, wav, whole=False)
    assert (await connection.start()).status_code == 408
    assert json.loads(await connection.read_all())["error"]["code"] == "upload_timeout"
    assert unnamed_files() <= before


async def test_a_listener_that_goes_away(make: Make, router: FakeRouter) -> None:
    api = make(piece_seconds=2, max_requests=1)
    router.gate.clear()
    connection = ask(api, encoded(noise(21.0)), stream="true")
    await connection.start()
    await until(lambda: len(router.calls) == 2)
    connection.leave()
    await connection.end()
    assert router.cancelled == 2
    router.gate.set()
    assert (await post(client_of(api), encoded(noise(1.0)))).status_code == 200


async def test_a_listener_that_goes_away_while_it_is_sent_a_word(
    make: Make, router: FakeRouter
) -> None:
    router.gate.clear()
    router.holds = lambda number: number == 1
    connection = ask(make(piece_seconds=2), encoded(noise(21.0)), stream="true")
    await connection.start()
    connection.is_answering = False
    await until(lambda: connection.is_answering)
    assert len(router.calls) == 2
    connection.task.cancel()
    await connection.end()
    assert router.cancelled == 1


async def test_a_listener_that_goes_away_before_the_first_word(
    make: Make, router: FakeRouter, wav: bytes
) -> None:
    api = make(max_requests=1)
    connection = ask(api, wav, stream="true")
    await until(lambda: connection.is_answering)
    connection.task.cancel()
    await connection.end()
    assert (await post(client_of(api), wav)).status_code == 200, "its place is free"


async def test_a_listener_that_has_heard_all_may_come_again_at_once(make: Make, wav: bytes) -> None:
    api = make(max_requests=1)
    connection = ask(api, wav, stream="true")
    await connection.start()
    while b"transcript.text.done" not in await connection.read():
        pass
    await asyncio.sleep(0)
    assert not connection.task.done()
    assert (await post(client_of(api), wav)).status_code == 200
    await connection.read_all()
    await connection.end()


async def test_a_listener_hears_each_piece_when_it_is_there(make: Make, router: FakeRouter) -> None:
    api = make(piece_seconds=2)
    router.gate.clear()
    connection = ask(api, encoded(noise(21.0)), stream="true")
    await connection.start()
    first = asyncio.create_task(connection.read())
    await until(lambda: len(router.calls) == 2)
    assert not first.done()
    router.gate.set()
    assert b"transcript.text.delta" in await first
    assert b"transcript.text.done" in await connection.read_all()


async def test_a_listener_that_is_slow_still_hears_the_end(make: Make, wav: bytes) -> None:
    """The time limit is for the answer to be made, not for it to be read."""
    connection = ask(make(timeout_s=0.5), wav, stream="true")
    await connection.start()
    await asyncio.sleep(0.7)
    heard = await connection.read_all()
    assert b"transcript.text.done" in heard or b'"timeout"' in heard
    await connection.end()


async def test_lines_for_a_client_that_goes_away(make: Make, router: FakeRouter) -> None:
    api = make(max_requests=1)
    before = unnamed_files()
    router.gate.clear()
    connection = ask_for_lines(api, 10 * CALL_RECORDS)
    await connection.start()
    await until(lambda: len(router.calls) == CALLS)
    connection.leave()
    await connection.end()
    assert router.cancelled == CALLS
    assert len(router.calls) == CALLS
    assert unnamed_files() <= before
    router.gate.set()
    assert (await post(client_of(api), encoded(noise(1.0)))).status_code == 200


async def test_lines_for_a_client_that_goes_away_before_the_first(
    make: Make, router: FakeRouter
) -> None:
    api = make(max_requests=1)
    before = unnamed_files()
    connection = ask_for_lines(api, 1)
    await until(lambda: connection.is_answering)
    connection.task.cancel()
    await connection.end()
    assert unnamed_files() <= before
    assert (await post(client_of(api), encoded(noise(1.0)))).status_code == 200


async def test_a_slow_reader_slows_us_down(make: Make, router: FakeRouter) -> None:
    connection = ask_for_lines(make(), 10 * CALL_RECORDS)
    await connection.start()
    await connection.read()
    for _ in range(50):
        await asyncio.sleep(0.002)
    assert len(router.calls) <= CALLS + 1
    assert (await connection.read_all()).count(b"\n") == 10 * CALL_RECORDS - 1
    assert len(router.calls) == 10


async def test_lines_keep_the_place_that_they_were_given(make: Make, router: FakeRouter) -> None:
    """Between the last line in and the first line out nobody else may take it."""
    api = make(max_requests=1)
    connection = ask_for_lines(api, 1)
    await until(lambda: connection.is_answering)
    assert (await post(client_of(api), encoded(noise(1.0)))).status_code == 503
    assert (await connection.start()).status_code == 200
    assert (await connection.read_all()).count(b"\n") == 1
