"""A middleware in Ray Serve's HTTP proxy, in front of the API.

The proxy reads a body as fast as it arrives, whether or not the API consumes it, so the size limit
must be enforced there too. It accepts headers of any size, and fails on some that are not UTF-8.
While there is no API yet, it answers 404 in plain text. When a replica of the API dies during a
request, it sends no response, which reaches the client as a bare 500. And its own answers have
nothing of what web pages need to read them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from contextlib import suppress
from typing import Any

from serve_app.http.every_answer import Cors, with_request_id
from serve_app.system.ray_environment import MAX_BODY_VARIABLE, ORIGINS_VARIABLE

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
#: Status, message and error code of a refused request.
Fault = tuple[int, str, str]

#: Largest total size of a request's headers, with their names; uvicorn has no limit.
MAX_HEAD_BYTES = 64 << 10
#: Seconds that the API has to answer a request whose body is too large.
ANSWER_S = 5.0
#: Paths of Serve's own answers: health, routes.
_SERVES_OWN = "/-/"


def middlewares() -> list[Any]:
    """The middlewares of the proxy; Serve calls this at its start, see `ray_environment`."""
    from starlette.middleware import Middleware
    from uvicorn.config import HTTP_PROTOCOLS

    from schemas.settings import HttpSettings

    # Serve has no setting for uvicorn's parser.
    HTTP_PROTOCOLS["auto"] = "serve_app.http.parser:Http11"
    limit = os.environ.get(MAX_BODY_VARIABLE) or HttpSettings().max_upload_bytes
    found = [Middleware(Guard, max_bytes=int(limit))]
    if origins := os.environ.get(ORIGINS_VARIABLE, "").split():
        found.append(Middleware(Cors, origins=origins))
    return found  # the last one is in front


class Guard:
    """Refuses oversized or malformed requests, and answers those that the application does not.

    Each request has an ID behind it, and each answer has it too.

    The statuses are 431 or 400 for the headers, 413 for the body, 404 for WebSockets, and 503 while
    there is no application or where the replica died. A body that is too large is not passed on;
    the application has `ANSWER_S` seconds to refuse it in its own way, with headers for browsers.

    Args:
        app: the application behind the middleware.
        max_bytes: largest size of a body.
    """

    def __init__(
        self, app: Callable[[Message, Receive, Send], Awaitable[None]], max_bytes: int
    ) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one connection, as the ASGI specification has it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        fault = _head_fault(scope.get("headers", ()))
        send = with_request_id(scope, send)  # it may replace a header
        if scope["type"] == "websocket":
            await _refuse_websocket(scope, send)
        elif fault is not None:
            await refuse(send, *fault)
        else:
            await self._pass(scope, receive, send)

    async def _pass(self, scope: Message, receive: Receive, send: Send) -> None:
        body = _Body(receive, self._max_bytes, _declared(scope.get("headers", ())))
        answer = _Answer(send, translate=not scope["path"].startswith(_SERVES_OWN))
        await self._app(scope, body.receive, answer.send)
        if answer.fault is not None:
            # if this proxy is being ended, the next connection comes to who outlives it
            closing = answer.fault[2] == "starting"
            await refuse(send, *answer.fault, close=body.rest if closing else None)
        elif not answer.started:
            reason = "the process that worked on this request ended; try again"
            too_large = f"the body has more than {self._max_bytes} bytes; compress or split it"
            fault = (503, reason, "interrupted")
            await refuse(send, *((413, too_large, "too_large") if body.too_large else fault))


class _Body:
    """The body of a request, of which no more than the limit is passed on.

    Args:
        receive: the next message from the client.
        max_bytes: the limit.
        declared: the size in the headers, 0 if there is none.

    Attributes:
        too_large: whether the body exceeds the limit.
    """

    def __init__(self, receive: Receive, max_bytes: int, declared: int) -> None:
        self._receive = receive
        self._left = max_bytes
        self._ended = False
        self.too_large = declared > max_bytes

    async def receive(self) -> Message:
        if self.too_large:
            return await self._disconnect()
        message = await self._receive()
        self._ended = not message.get("more_body")
        self._left -= len(message.get("body", b""))
        self.too_large = self._left < 0
        return message  # with what is too much, so that the application sees it and can say so

    async def rest(self) -> Message:
        """As `receive`, which waits for the client to disconnect behind the end; this does not."""
        return {"type": "http.request"} if self._ended else await self.receive()

    async def _disconnect(self) -> Message:
        """Drop the rest of the body until the client disconnects, or the time is over."""
        try:
            async with asyncio.timeout(ANSWER_S):
                while (message := await self._receive())["type"] != "http.disconnect":
                    pass
                return message
        except TimeoutError:
            return {"type": "http.disconnect"}


class _Answer:
    """The response, unless it is one of Serve's own errors, which are plain text.

    Args:
        send: sends a message to the client.
        translate: whether errors in plain text are held back.

    Attributes:
        started: whether the response has begun.
        fault: what to answer instead of the error that was held back.
    """

    def __init__(self, send: Send, *, translate: bool) -> None:
        self._send = send
        self._translate = translate
        self.started = False
        self.fault: Fault | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and self._translate:
            self.fault = _serve_fault(message)
        if self.fault is None:
            self.started = True
            await self._send(message)


def _serve_fault(start: Message) -> Fault | None:
    """What to answer instead of an error of Serve's; None for the application's own response."""
    status = start["status"]
    kind = dict(start.get("headers", ())).get(b"content-type", b"")
    if status < 400 or kind.startswith(b"application/json"):
        return None
    if status == 404:
        return 503, "the service is not up yet, or is being replaced; try again", "starting"
    if status == 408:
        return 408, "the time that the request itself allows is over", "timeout"
    return 503, "the service cannot answer at the moment; try again", "unavailable"


def _declared(headers: Sequence[tuple[bytes, bytes]]) -> int:
    """The size of the body in the headers; 0 if there is none."""
    return max((int(value) for name, value in headers if name == b"content-length"), default=0)


def _head_fault(headers: Sequence[tuple[bytes, bytes]]) -> Fault | None:
    if sum(len(name) + len(value) for name, value in headers) > MAX_HEAD_BYTES:
        reason = f"the headers have more than {MAX_HEAD_BYTES} bytes; send fewer or shorter ones"
        return 431, reason, "headers_too_large"
    for name, value in headers:
        try:
            value.decode()  # Serve decodes some of them, and fails if they are not UTF-8
        except UnicodeDecodeError:
            return 400, f"the header `{name.decode()}` is not UTF-8", "invalid_header"
    return None


async def _refuse_websocket(scope: Message, send: Send) -> None:
    """Answer an attempt to open a WebSocket, of which there are none, as any unknown path."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close"})  # before it is open: 403
        return
    reason = "there are no WebSockets here; send a file to POST /v1/audio/transcriptions"
    await refuse(send, 404, reason, "http_error", prefix="websocket.")


async def refuse(
    send: Send,
    status: int,
    message: str,
    code: str,
    *,
    prefix: str = "",
    close: Receive | None = None,
) -> None:
    """Answer a request with an error of the API.

    Args:
        send: sends a message to the client.
        status: of the error.
        message: of the error.
        code: of the error.
        prefix: of the messages' types.
        close: receives the rest of the request's body, for a connection that is to be closed: to
            close it before the client has sent all is a reset.
    """
    # imported only here: the proxy rarely needs it
    import msgspec

    from serve_app.http.errors import ApiError

    error = ApiError(status, message, code=code)
    body = msgspec.json.encode(error.body)
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    headers |= error.headers | ({} if close is None else {"connection": "close"})
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": f"{prefix}http.response.start", "status": status, "headers": raw})
    if close is not None:
        await send({"type": f"{prefix}http.response.body", "body": body, "more_body": True})
        body = b""
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                while (await close()).get("more_body"):
                    pass
    await send({"type": f"{prefix}http.response.body", "body": body})
