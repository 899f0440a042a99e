"""Who may come in: keys, requests at once, seconds of audio a minute."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import httpx
import pytest

from schemas.transcript import Word
from serve_app.audio.clip import Clip
from tests.serve_app.http.conftest import (
    TRANSCRIPTIONS,
    FakeRouter,
    Make,
    client_of,
    post,
    until,
)
from tests.serve_app.http.connection import Connection

pytestmark = pytest.mark.asyncio(loop_scope="package")

LINE = b'{"audio_filepath": "/a.wav"}\n'


def keys(**limits: Any) -> dict[str, Any]:
    """Of "one", with these limits, and "two": their names are their keys."""
    return {
        "one": {"sha256": hashlib.sha256(b"one").hexdigest(), **limits},
        "two": {"sha256": hashlib.sha256(b"two").hexdigest()},
    }


def with_key(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {name}"}


def code_of(answer: httpx.Response) -> str:
    found: str = answer.json()["error"]["code"]
    return found


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", TRANSCRIPTIONS),
        ("POST", "/v1/manifests"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/auto"),
    ],
)
async def test_without_a_key_nothing_is_read(
    make: Make, router: FakeRouter, method: str, path: str
) -> None:
    api = make(keys=keys())
    for headers in ({}, with_key("three"), {"authorization": "Basic b25l"}):
        connection = Connection(api, httpx.Request(method, f"http://test{path}", headers=headers))
        answer = await connection.start()
        assert answer.status_code == 401
        assert b"authentication_error" in await connection.read_all()
        assert connection.asked == 0
    assert router.calls == []


@pytest.mark.parametrize("path", ["/live", "/ready", "/health", "/docs", "/docs/openapi.json"])
async def test_probes_and_the_document_need_no_key(make: Make, path: str) -> None:
    assert (await client_of(make(keys=keys())).get(path)).status_code == 200


PAGES = [("docs", "/docs"), ("docs", "/docs/openapi.json"), ("metrics", "/metrics")]


@pytest.mark.parametrize(("name", "path"), PAGES)
@pytest.mark.parametrize(
    ("access", "stranger", "client"),
    [("open", 200, 200), ("key", 401, 200), ("off", 404, 404)],
)
async def test_who_may_read_the_documentation_and_the_metrics(
    make: Make, name: str, path: str, access: str, stranger: int, client: int
) -> None:
    api = make(keys=keys(), **{name: access})
    assert (await client_of(api).get(path)).status_code == stranger
    assert (await client_of(api, **with_key("one")).get(path)).status_code == client
    without_keys = await client_of(make(**{name: access})).get(path)
    assert without_keys.status_code == (404 if access == "off" else 200)


async def test_metrics_name_clients_and_so_need_a_key(make: Make) -> None:
    assert (await client_of(make(keys=keys())).get("/metrics")).status_code == 401


async def test_keys_cannot_be_guessed_without_end(make: Make, wav: bytes) -> None:
    api = make(keys=keys(), wrong_keys_per_minute=3, metrics="key", docs="key")
    paths = ["/v1/models", "/metrics", "/docs"]
    for path in paths:
        assert (await client_of(api, **with_key("guess")).get(path)).status_code == 401
    for path in [*paths, "/v1/models/auto"]:
        answer = await client_of(api, **with_key("one")).get(path)
        assert (answer.status_code, code_of(answer)) == (429, "too_many_wrong_keys")
        assert 1 <= int(answer.headers["retry-after"]) <= 21
    assert (await client_of(api).get("/live")).status_code == 200
    elsewhere = httpx.Request("GET", "http://test/v1/models", headers=with_key("one"))
    connection = Connection(api, elsewhere, address="192.0.2.7")
    connection.send(b"")
    assert (await connection.start()).status_code == 200


async def test_with_a_key(make: Make, wav: bytes) -> None:
    client = client_of(make(keys=keys()), **with_key("one"))
    assert (await post(client, wav)).status_code == 200
    assert (await client.get("/v1/models")).status_code == 200
    counted = (await client.get("/metrics")).text
    assert 'chorus_http_audio_seconds_total{client="one"} 3.0' in counted


async def test_a_client_has_so_many_requests_at_once(
    make: Make, router: FakeRouter, wav: bytes
) -> None:
    api = make(keys=keys(max_concurrent=2))
    one, two = client_of(api, **with_key("one")), client_of(api, **with_key("two"))
    router.gate.clear()
    held = [asyncio.create_task(post(one, wav)) for _ in range(2)]
    await until(lambda: len(router.calls) == 2)
    for refused in (await post(one, wav), await one.post("/v1/manifests", content=LINE)):
        assert (refused.status_code, code_of(refused)) == (429, "too_many_requests")
        assert int(refused.headers["retry-after"]) >= 1
    others = asyncio.create_task(post(two, wav))
    await until(lambda: len(router.calls) == 3)
    router.gate.set()
    assert [each.status_code for each in await asyncio.gather(*held, others)] == [200] * 3
    assert (await post(one, wav)).status_code == 200


async def test_what_is_too_much_for_all_is_refused_before_it_is_read(
    make: Make, router: FakeRouter, wav: bytes
) -> None:
    api = make(max_requests=1)
    router.gate.clear()
    held = asyncio.create_task(post(client_of(api), wav))
    await until(lambda: len(router.calls) == 1)
    for path in (TRANSCRIPTIONS, "/v1/manifests"):
        connection = Connection(api, httpx.Request("POST", f"http://test{path}"))
        answer = await connection.start()
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert b"overloaded" in await connection.read_all()
        assert connection.asked == 0
    assert (await client_of(api).get("/live")).status_code == 200
    router.gate.set()
    assert (await held).status_code == 200
    assert (await post(client_of(api), wav)).status_code == 200


@pytest.mark.parametrize(
    "fields",
    [{}, {"stream": "true"}, {"model": "nobody"}, {"response_format": "verbose_json"}],
    ids=str,
)
async def test_a_place_is_given_back_however_a_request_ends(
    make: Make, wav: bytes, fields: dict[str, str]
) -> None:
    client = client_of(make(keys=keys(max_concurrent=1), max_requests=1), **with_key("one"))
    statuses = [(await post(client, wav, **fields)).status_code for _ in range(3)]
    assert set(statuses) == {404 if "model" in fields else 200}
    assert (await client.post("/v1/manifests", content=LINE)).status_code == 200
    assert (await post(client, b"no audio")).status_code == 400
    assert (await post(client, wav)).status_code == 200


async def test_a_fault_in_the_middle_gives_back_the_place(
    make: Make, router: FakeRouter, wav: bytes
) -> None:
    client = client_of(make(max_requests=1))
    hear = router.hear

    def fail(clip: Clip) -> list[Word]:
        raise ZeroDivisionError("told to fail")

    router.hear = fail
    assert (await post(client, wav, stream="true")).status_code == 200, "too late for another"
    assert (await client.post("/v1/manifests", content=LINE)).status_code == 200
    assert (await post(client, wav)).status_code == 500
    router.hear = hear
    assert (await post(client, wav)).status_code == 200


async def test_seconds_of_audio_a_minute(make: Make, router: FakeRouter, wav: bytes) -> None:
    api = make(keys=keys(audio_seconds_per_minute=1.0))
    one = client_of(api, **with_key("one"))
    assert (await post(one, wav)).status_code == 200, "a file longer than the limit is possible"
    refused = await post(one, b"not even decoded")
    assert (refused.status_code, code_of(refused)) == (429, "audio_rate_limit")
    assert 60 < int(refused.headers["retry-after"]) <= 121
    assert (await post(client_of(api, **with_key("two")), wav)).status_code == 200
    assert len(router.calls) == 2


async def test_manifests_count_too(make: Make, router: FakeRouter) -> None:
    """The length of their audio is known only afterwards."""
    one = client_of(make(keys=keys(audio_seconds_per_minute=1.0)), **with_key("one"))
    answer = await one.post("/v1/manifests", content=LINE * 3)
    assert len(answer.text.splitlines()) == 3
    refused = await one.post("/v1/manifests", content=LINE)
    assert (refused.status_code, code_of(refused)) == (429, "audio_rate_limit")
    assert len(router.calls) == 1
    counted = (await one.get("/metrics")).text
    assert 'chorus_http_audio_seconds_total{client="one"} 3.0' in counted


async def test_bad_audio_costs_nothing(make: Make, wav: bytes) -> None:
    one = client_of(make(keys=keys(audio_seconds_per_minute=1.0)), **with_key("one"))
    for _ in range(3):
        assert (await post(one, b"no audio")).status_code == 400
    assert (await post(one, wav)).status_code == 200


async def test_browsers_are_let_in_from_where_the_settings_say(make: Make) -> None:
    ask = {"origin": "http://page", "access-control-request-method": "POST"}
    closed = await client_of(make()).options(TRANSCRIPTIONS, headers=ask)
    assert not any(name.startswith("access-control") for name in closed.headers)
    assert (
        "access-control-allow-origin"
        not in (await client_of(make()).get("/live", headers=ask)).headers
    )
    open_ = make(allowed_origins=["http://page"], keys=keys())
    allowed = await client_of(open_).options(TRANSCRIPTIONS, headers=ask)
    assert allowed.headers["access-control-allow-origin"] == "http://page"
    refused = await client_of(open_).get("/v1/models", headers={"origin": "http://page"})
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "http://page", "else it is no answer"
    other = await client_of(open_).get("/live", headers={"origin": "http://elsewhere"})
    assert other.headers.get("access-control-allow-origin") != "http://elsewhere"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (TRANSCRIPTIONS, "multipart/form-data; boundary=x"),
        ("/v1/manifests", "application/x-ndjson"),
    ],
)
async def test_a_page_may_read_why_its_file_is_refused(make: Make, path: str, kind: str) -> None:
    api = make(allowed_origins=["http://page"], max_upload_bytes=10)
    headers = {"origin": "http://page", "content-type": kind}
    answer = await client_of(api, **headers).post(path, content=b"x" * 11)
    assert answer.status_code == 413
    assert answer.headers["access-control-allow-origin"] == "http://page"
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    assert {"x-request-id", "retry-after", "x-chorus-model"} <= set(exposed)
