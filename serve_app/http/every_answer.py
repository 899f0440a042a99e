"""Headers that every answer has, whoever gives it: the request's ID, and those for web pages.

Used in front of the API, and again in Serve's proxy, which has answers of its own: while there is
no API, for example.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping, Sequence
from typing import Any
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_ID = "x-request-id"
#: Names the fields of a request that were accepted and have no effect.
WITHOUT_EFFECT = "x-chorus-without-effect"
#: Names the models that made the text of an answer, with their versions and digests.
MODEL = "x-chorus-model"

#: Headers of a response that a web page may read.
_EXPOSED = ("retry-after", REQUEST_ID, WITHOUT_EFFECT, MODEL)
#: A request ID that a client may choose; any other is replaced by a generated one.
_VALID_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")
_ALLOWED = "access-control-allow-origin"


def with_request_id(scope: Scope, send: Send) -> Send:
    """`send`, with the ID of the request (`request_id_of`) in the answer unless it has one."""
    request_id = request_id_of(scope)

    async def send_with_id(message: Message) -> None:
        if message["type"].endswith("http.response.start"):  # of a WebSocket's refusal too
            message.setdefault("headers", [])
            MutableHeaders(scope=message).setdefault(REQUEST_ID, request_id)
        await send(message)

    return send_with_id


def request_id_of(scope: MutableMapping[str, Any]) -> str:
    """The ID in the headers of a request; where there is no valid one, a new one is put there."""
    headers = MutableHeaders(scope=scope)
    found = headers.get(REQUEST_ID, "")
    if _VALID_ID.fullmatch(found):
        return found
    headers[REQUEST_ID] = new = uuid4().hex
    scope["headers"] = headers.raw
    return new


class Cors(CORSMiddleware):
    """Lets web pages of some origins call, and read every answer.

    A preflight request of another origin is passed on: the application may know more origins, else
    its answer does not have the header that the browser looks for.

    Args:
        app: the application behind the middleware.
        origins: "*" for all.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=["*"],
            allow_headers=["*"],
            allow_private_network=True,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection, as the ASGI specification has it."""
        origin = Headers(scope=scope).get("origin", "") if scope["type"] == "http" else ""
        if origin and scope["method"] == "OPTIONS" and not self.is_allowed_origin(origin):
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    async def send(self, message: Message, send: Send, request_headers: Headers) -> None:
        """Send a part of an answer, with the headers unless it has them."""
        if message["type"] == "http.response.start":
            message.setdefault("headers", [])
            headers, origin = MutableHeaders(scope=message), request_headers.get("origin")
            if origin is not None and _ALLOWED not in headers and self.is_allowed_origin(origin):
                headers[_ALLOWED] = "*" if self.allow_all_origins else origin
                headers["access-control-expose-headers"] = ", ".join(_EXPOSED)
            if not self.allow_all_origins and "origin" not in headers.get("vary", "").lower():
                headers.add_vary_header("Origin")
        await send(message)
