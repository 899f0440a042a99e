"""A client's end of one request, message by message: it can stall, read slowly and go away."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import httpx
from litestar.types import ASGIApp
from starlette.types import ASGIApp as StarletteApp


class Connection:
    """One request under way; what httpx' client for ASGI cannot do, it can.

    The answer is taken only when the test reads it: until then the API waits to send more.

    Attributes:
        asked: how often the API wanted some of the body.
        is_answering: whether it has an answer to send.
    """

    def __init__(self, api: ASGIApp, request: httpx.Request, address: str = "127.0.0.1") -> None:
        self._to_api: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._from_api: asyncio.Queue[Any] = asyncio.Queue()
        self._is_reading = asyncio.Semaphore(0)
        self._is_gone = self._has_ended = False
        self.is_answering = False
        self.asked = 0
        run = cast(StarletteApp, api)(_scope(request, address), self._receive, self._send)
        self.task: asyncio.Task[None] = asyncio.ensure_future(run)

    def send(self, body: bytes, *, more: bool = False) -> None:
        """Send some of the body, or the rest of it."""
        self._to_api.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def leave(self) -> None:
        """Close the connection."""
        self._is_gone = True
        self._to_api.put_nowait({"type": "http.disconnect"})

    async def start(self) -> httpx.Response:
        """Read the status and the headers."""
        message = await self._next()
        assert message["type"] == "http.response.start"
        return httpx.Response(message["status"], headers=message["headers"])

    async def read(self) -> bytes:
        """Read some of the answer; nothing at its end."""
        body = b""
        while not body and not self._has_ended:
            message = await self._next()
            assert message["type"] == "http.response.body"
            body = message["body"]
            self._has_ended = not message.get("more_body")
        if self._has_ended:
            self.leave()  # as servers say it to who listens on
        return body

    async def read_all(self) -> bytes:
        """Read the rest of the answer."""
        found = b""
        while body := await self.read():
            found += body
        return found

    async def end(self) -> None:
        """Wait until the API has done with the request, however it ends."""
        async with asyncio.timeout(20):
            await asyncio.wait([self.task])

    async def _next(self) -> Any:
        self._is_reading.release()
        async with asyncio.timeout(20):
            return await self._from_api.get()

    async def _receive(self) -> Any:
        self.asked += 1
        if self._is_gone and self._to_api.empty():
            return {"type": "http.disconnect"}
        return await self._to_api.get()

    async def _send(self, message: Any) -> None:
        self.is_answering = True
        await self._is_reading.acquire()
        self._from_api.put_nowait(message)


def _scope(request: httpx.Request, address: str) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "scheme": "http",
        "path": request.url.path,
        "raw_path": request.url.raw_path,
        "query_string": request.url.query,
        "root_path": "",
        "server": ("test", 80),
        "client": (address, 1),
        "state": {},
    }
