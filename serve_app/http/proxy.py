"""What Serve's proxy does before and after the API: a middleware that it is told to load.

The proxy takes in a body as fast as it comes, whatever the API makes of it, so the limit of its
bytes must hold there too. It takes in headers without end, and fails where some are not UTF-8. And
when a replica of the API dies over a request, the proxy ends it without an answer, which reaches
the client as a bare 500.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
#: Status, message and code.
Fault = tuple[int, str, str]

#: Bytes of a body, for the proxy: it does not see the settings. `serve_app.app.start` sets it.
MAX_BODY_VARIABLE = "CHORUS_HTTP_MAX_BODY_BYTES"
#: Bytes of a request's headers, their names too; uvicorn takes in any number.
MAX_HEAD_BYTES = 64 << 10


def middlewares() -> list[Any]:
    """Called by Serve's proxy when it starts; see `serve_app.ray_environment`."""
    from starlette.middleware import Middleware

    from schemas.settings import HttpSettings

    limit = os.environ.get(MAX_BODY_VARIABLE) or HttpSettings().max_upload_bytes
    return [Middleware(Guard, max_bytes=int(limit))]


class Guard:
    """Answers what is too long or would break the proxy, and what the application has no answer to.

    With 431 or 400 a head, with 413 a body, with 503 a request whose replica is gone.
    """

    def __init__(
        self, app: Callable[[Message, Receive, Send], Awaitable[None]], max_bytes: int
    ) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if fault := self._head_fault(scope.get("headers", ())):
            if scope["type"] == "http":
                await _refuse(send, *fault)
            else:
                await send({"type": "websocket.close"})  # before it is open: 403
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answered = refused = False
        received = 0

        async def bounded() -> Message:
            nonlocal received, refused
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                refused = True
                return {"type": "http.disconnect"}  # which ends the work on it
            return message

        async def note(message: Message) -> None:
            nonlocal answered
            if refused and not answered:
                return  # ours is the answer
            answered = True
            await send(message)

        await self._app(scope, bounded, note)
        if refused and not answered:
            await _refuse(send, *self._body_fault())
        elif not answered:
            reason = "a part of the service ended over this request; try again"
            await _refuse(send, 503, reason, "interrupted")

    def _head_fault(self, headers: Sequence[tuple[bytes, bytes]]) -> Fault | None:
        if sum(len(name) + len(value) for name, value in headers) > MAX_HEAD_BYTES:
            return 431, f"the headers have more than {MAX_HEAD_BYTES} bytes", "headers_too_large"
        for name, value in headers:
            try:
                value.decode()  # as Serve does with some of them, and breaks where it cannot
            except UnicodeDecodeError:
                return 400, f"the header `{name.decode()}` is not UTF-8", "invalid_header"
            if name == b"content-length" and int(value) > self._max_bytes:
                return self._body_fault()
        return None

    def _body_fault(self) -> Fault:
        return 413, f"the body has more than {self._max_bytes} bytes", "too_large"


async def _refuse(send: Send, status: int, message: str, code: str) -> None:
    # imported here: the proxy has no other use for it
    import msgspec

    from serve_app.http.errors import ApiError

    error = ApiError(status, message, code=code)
    headers = {"content-type": "application/json", **error.headers}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": msgspec.json.encode(error.body)})
