"""The middleware in Serve's proxy, behind uvicorn as Serve runs it, in front of the API or of none.

`test_http_on_serve` has the same with Serve itself.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from serve_app.http import proxy
from serve_app.system.ray_environment import MAX_BODY_VARIABLE, ORIGINS_VARIABLE
from tests.serve_app.http.conftest import TRANSCRIPTIONS, Make, encoded, noise, port_of

LIMIT = 100_000
BODY = (
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n%s\r\n--x--\r\n'
    % encoded(noise(1.0))
)


async def serve_without_apps(scope: Any, receive: Any, send: Any) -> None:
    """What Serve's proxy answers while there is no application, and on its own paths."""
    own = scope["path"].startswith("/-/")
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 503 if own else 404, "headers": headers})
    await send({"type": "http.response.body", "body": b"Path not found"})


async def hanging_up(scope: Any, receive: Any, send: Any) -> None:
    """A replica that dies."""


async def failing(scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    status = 408 if scope["path"] == "/slow" else 500
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"Internal ", "more_body": True})
    await send({"type": "http.response.body", "body": b"Server Error"})


async def unlimited(scope: Any, receive: Any, send: Any) -> None:
    """An application without a limit of its own."""
    while (await receive())["type"] != "http.disconnect":
        pass


@contextmanager
def behind(app: Any) -> Iterator[str]:
    """The address of `app` behind the proxy's middlewares and uvicorn."""
    for each in proxy.middlewares():
        app = each.cls(app, *each.args, **each.kwargs)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{port_of(server, thread)}"
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture
def parser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets what the proxy is told, and restores uvicorn's own choice of a parser."""
    monkeypatch.setenv(MAX_BODY_VARIABLE, str(LIMIT))
    monkeypatch.setenv(ORIGINS_VARIABLE, "http://page http://other")
    monkeypatch.setitem(
        uvicorn.config.HTTP_PROTOCOLS, "auto", uvicorn.config.HTTP_PROTOCOLS["auto"]
    )


@pytest.fixture
def address(make: Make, parser: None) -> Iterator[str]:
    """Of the API."""
    with behind(make(allowed_origins=["http://page"], max_upload_bytes=LIMIT)) as found:
        yield found


def say(address: str, *parts: bytes) -> bytes:
    """What is answered to bytes as they are, up to the end of the connection."""
    host, _, port = address.partition(":")
    with closing(socket.create_connection((host, int(port)), timeout=20)) as connection:
        connection.sendall(b"".join(parts))
        return b"".join(iter(lambda: connection.recv(65536), b""))


def head(path: str, *headers: bytes, method: bytes = b"POST") -> bytes:
    lines = [b"%s %s HTTP/1.1" % (method, path.encode()), b"Host: test", *headers, b"", b""]
    return b"\r\n".join(lines)


def answer_of(raw: bytes) -> tuple[int, Any]:
    """Status and JSON of the last response."""
    start, _, body = raw.rpartition(b"HTTP/1.1 ")[2].partition(b"\r\n\r\n")
    return int(start.split()[0]), json.loads(body)


FORM = b"Content-Type: multipart/form-data; boundary=x"


@pytest.mark.parametrize(
    "offer",
    [
        (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAA"),
        (b"Connection: upgrade", b"Upgrade: h2c"),
        (b"Connection: Upgrade", b"Upgrade: TLS/1.2"),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_an_offer_of_another_protocol_costs_nothing(
    address: str, offer: tuple[bytes, ...], chunked: bool
) -> None:
    size = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(BODY)
    sent = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY) if chunked else BODY
    # the connection is used again, by a request that ends it
    again = head("/live", b"Connection: close", method=b"GET")
    raw = say(address, head(TRANSCRIPTIONS, FORM, size, *offer), sent, again)
    assert raw.count(b"HTTP/1.1 200 OK") == 2
    assert raw.count(b'"text":') == 1
    assert answer_of(raw) == (200, {"status": "ok"})


@pytest.mark.parametrize("declared", [True, False])
def test_too_large_a_body_is_refused_by_the_api(address: str, declared: bool) -> None:
    body = BODY + bytes(LIMIT)
    name, _, kind = FORM.decode().partition(": ")
    answer = httpx.post(
        f"http://{address}{TRANSCRIPTIONS}",
        content=body if declared else iter([body[:LIMIT], body[LIMIT:]]),
        headers={"origin": "http://page", name: kind},
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "audio_too_large")
    assert answer.headers["access-control-allow-origin"] == "http://page"


def test_too_large_a_body_is_refused_for_an_application_that_does_not(
    parser: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy, "ANSWER_S", 0.05)
    with behind(unlimited) as address:
        answer = httpx.post(f"http://{address}/", content=bytes(LIMIT + 1))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    ("app", "code"),
    [(serve_without_apps, "starting"), (hanging_up, "interrupted"), (failing, "unavailable")],
)
def test_without_an_answer_of_the_api_the_client_is_told_to_try_again(
    parser: None, app: Any, code: str
) -> None:
    with behind(app) as address:
        answer = httpx.post(f"http://{address}{TRANSCRIPTIONS}", content=b"x")
        own = httpx.get(f"http://{address}/-/routes")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, code)
    assert answer.json()["error"]["type"] == "server_error"
    assert int(answer.headers["retry-after"]) >= 1
    assert (own.headers["content-type"] == "text/plain") == (app is serve_without_apps)


def test_a_connection_is_closed_behind_the_whole_request(parser: None) -> None:
    """Whoever answers next gets a connection of its own; one that is cut off is a reset."""
    body = bytes(LIMIT)
    with behind(serve_without_apps) as address:
        raw = say(address, head(TRANSCRIPTIONS, b"Content-Length: %d" % len(body)), body)
    assert b"connection: close" in raw
    assert answer_of(raw)[0] == 503


def test_a_time_limit_of_the_clients_own_is_not_an_outage(parser: None) -> None:
    with behind(failing) as address:
        answer = httpx.post(f"http://{address}/slow")
    assert (answer.status_code, answer.json()["error"]["code"]) == (408, "timeout")


def test_answers_of_the_api_are_left_as_they_are(address: str) -> None:
    answer = httpx.get(f"http://{address}/v1/nothing")
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "not_found_error")
    assert "only transcribes" in answer.json()["error"]["message"]
    outside = httpx.post(f"http://{address}{TRANSCRIPTIONS.removeprefix('/v1')}")
    assert "base URL of a client ends in /v1" in outside.json()["error"]["message"]
    wrong = httpx.get(f"http://{address}{TRANSCRIPTIONS}")
    assert (wrong.status_code, "POST" in wrong.headers["allow"]) == (405, True)
    assert wrong.json()["error"]["message"] == "this path takes OPTIONS, POST, not GET"


def test_a_websocket_is_not_found(address: str) -> None:
    with pytest.raises(InvalidStatus) as caught:
        connect(f"ws://{address}/v1/realtime?model=auto")
    assert caught.value.response.status_code == 404
    error = json.loads(caught.value.response.body or b"")["error"]
    assert (error["type"], error["param"]) == ("not_found_error", None)
    assert "WebSocket" in error["message"]


@pytest.mark.parametrize(
    ("app", "path", "header", "status"),
    [
        (serve_without_apps, TRANSCRIPTIONS, {}, 503),
        (hanging_up, TRANSCRIPTIONS, {}, 503),
        (failing, "/slow", {}, 408),
        (failing, "/live", {"x-long": "a" * 70_000}, 431),
        (failing, "/live", {"x-a": "\xff".encode("latin-1")}, 400),
        (unlimited, TRANSCRIPTIONS, {}, 413),
    ],
)
def test_a_page_may_read_what_the_proxy_says(
    parser: None,
    monkeypatch: pytest.MonkeyPatch,
    app: Any,
    path: str,
    header: dict[str, Any],
    status: int,
) -> None:
    monkeypatch.setattr(proxy, "ANSWER_S", 0.05)
    body = bytes(LIMIT + 1) if status == 413 else b""
    with behind(app) as address:
        url, headers = f"http://{address}{path}", {"origin": "http://page", **header}
        ask = {"origin": "http://page", "access-control-request-method": "POST"}
        asked = httpx.options(url, headers=ask)
        answer = httpx.post(url, headers=headers, content=body)
        named = httpx.post(url, headers={**headers, "x-request-id": "mine"}, content=body)
        renamed = httpx.post(url, headers={**headers, "x-request-id": "a b"}, content=body)
        other = httpx.post(url, headers={**headers, "origin": "http://else"}, content=body)
    assert asked.headers["access-control-allow-origin"] == "http://page"
    assert (asked.status_code, answer.status_code) == (200, status)
    assert answer.headers["access-control-allow-origin"] == "http://page"
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    assert {"x-request-id", "retry-after", "x-chorus-model"} <= set(exposed)
    assert named.headers["x-request-id"] == "mine"
    assert " " not in renamed.headers["x-request-id"]
    assert len({each.headers["x-request-id"] for each in (answer, renamed, other)}) == 3
    assert "access-control-allow-origin" not in other.headers


def test_headers_for_pages_are_there_once(address: str) -> None:
    url, headers = f"http://{address}/v1/nothing", {"origin": "http://page"}
    answer = httpx.get(url, headers=headers)
    assert answer.headers.get_list("access-control-allow-origin") == ["http://page"]
    assert answer.headers.get_list("vary") == ["Origin"]
    assert len(answer.headers.get_list("x-request-id")) == 1


def test_the_api_may_let_in_more_pages_than_the_proxy_knows(make: Make, parser: None) -> None:
    ask = {"origin": "http://new", "access-control-request-method": "POST"}
    with behind(make(allowed_origins=["http://new"])) as address:
        asked = httpx.options(f"http://{address}{TRANSCRIPTIONS}", headers=ask)
        answer = httpx.get(f"http://{address}/live", headers=ask)
        refused = httpx.options(f"http://{address}/live", headers={**ask, "origin": "http://else"})
    assert asked.status_code == 200
    assert asked.headers["access-control-allow-origin"] == "http://new"
    assert answer.headers["access-control-allow-origin"] == "http://new"
    assert refused.status_code < 500
    assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize(
    ("request_head", "status", "code"),
    [
        (head("/live", b"X-Long: " + b"a" * 70_000, method=b"GET"), 431, "headers_too_large"),
        (head("/live", b"X-Long: " + b"a" * 2_000_000, method=b"GET"), 431, "headers_too_large"),
        (head("/live", b"X-A: \xff", b"Connection: close", method=b"GET"), 400, "invalid_header"),
        (
            head("/live", b"Connection: close", b"X-Request-Id: " + b"a" * 70_000, method=b"GET"),
            431,
            "headers_too_large",
        ),
        (
            head("/live", b"Connection: close", b"X-Request-Id: \xff", method=b"GET"),
            400,
            "invalid_header",
        ),
        (b"nonsense\r\n\r\n", 400, "invalid_http"),
        (head("/live", b"Content-Length: 1", b"Content-Length: 2"), 400, "invalid_http"),
    ],
)
def test_a_head_that_is_no_good(address: str, request_head: bytes, status: int, code: str) -> None:
    request_head = request_head.replace(b"X-Long", b"Connection: close\r\nX-Long")
    found, body = answer_of(say(address, request_head))
    assert (found, body["error"]["code"]) == (status, code)


async def test_what_a_client_that_leaves_has_sent_is_not_waited_for() -> None:
    messages = iter([{"type": "http.request", "body": bytes(LIMIT + 1), "more_body": True}])
    left = asyncio.Event()

    async def receive() -> Any:
        return next(messages, {"type": "http.disconnect"})

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert len((await receive())["body"]) == LIMIT + 1
        assert await receive() == {"type": "http.disconnect"}
        left.set()

    async def send(message: Any) -> None:
        """Nobody listens."""

    scope = {"type": "http", "path": "/", "headers": []}
    await proxy.Guard(app, LIMIT)(scope, receive, send)
    assert left.is_set()
