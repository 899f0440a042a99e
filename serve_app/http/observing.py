"""What is measured and logged of requests, and `/metrics`."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from litestar import Litestar, get
from litestar.enums import HttpMethod, ScopeType
from litestar.types import ASGIApp, Message, Receive, ReceiveMessage, Scope, Send
from opentelemetry import trace
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind

from serve_app.http import openapi
from serve_app.http.errors import ApiError
from serve_app.http.every_answer import REQUEST_ID, request_id_of
from serve_app.http.service import Service
from serve_app.telemetry import definitions as defined
from serve_app.telemetry.instruments import Instruments
from serve_app.telemetry.tracing import active, begin_span, fail, traceparent

logger = logging.getLogger(__name__)

#: Status in the metrics of a request whose client disconnected before the response, as in nginx.
_CLIENT_GONE = 499
#: Statuses of failed requests that are not logged.
_UNLOGGED = (401, 429, _CLIENT_GONE)
#: The route of an unknown path.
_NO_ROUTE = "other"
#: The header by which a response tells the trace of its request (W3C Trace Context, level 2).
_TRACE = b"traceresponse"
#: Seconds between two looks at the stream workers.
_LOOK_S = 10.0


@get(
    "/metrics",
    response_description="The metrics in Prometheus' text format.",
    responses=openapi.error_responses(401, 429),
    media_type="text/plain",
)
async def metrics(service: Service) -> bytes:
    """Report the metrics of this machine's replicas, for Prometheus."""
    text = getattr(service.instruments, "text", None)
    if text is None:
        reason = "the metrics of this cluster are at the metrics port of each of its nodes"
        raise ApiError(404, reason, code="metrics_elsewhere")
    await _look_at_workers(service)
    return cast(bytes, await asyncio.to_thread(text))


async def _look_at_workers(service: Service) -> None:
    faults = await asyncio.to_thread(service.worker_faults)
    service.instruments.set(defined.WORKER_FAULTS, len(faults))


async def _keep_looking(service: Service) -> None:
    while True:
        try:
            await _look_at_workers(service)
        except Exception as error:  # as while Ray's head is started again
            logger.info("the stream workers cannot be looked at: %s", type(error).__name__)
        await asyncio.sleep(_LOOK_S)


@asynccontextmanager
async def watching(service: Service, _: Litestar) -> AsyncIterator[None]:
    """Measure what nobody asks this process for, while the application runs."""
    watching = asyncio.create_task(_keep_looking(service))
    try:
        yield
    finally:
        watching.cancel()


class Observer:
    """Middleware that gives each request an ID, answers HEAD as GET, and records metrics."""

    def __init__(self, app: ASGIApp, instruments: Instruments) -> None:
        self._app = app
        self._instruments = instruments
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != ScopeType.HTTP:  # start-up and shutdown
            await self._app(scope, receive, send)
            return
        given = any(name == REQUEST_ID.encode() for name, _ in scope["headers"])
        request_id = request_id_of(cast(Any, scope))
        scope.setdefault("state", {})["request_id"] = request_id
        is_head = scope.get("method") == "HEAD"  # what many probes send
        if is_head:
            scope["method"] = HttpMethod.GET
        status = _CLIENT_GONE  # Serve cancels such a request
        started = time.perf_counter()
        span = _begin_span(scope)
        told = traceparent(span)
        gone = False

        async def watch() -> ReceiveMessage:
            nonlocal gone
            message = await receive()
            gone = gone or message["type"] == "http.disconnect"
            return message

        async def observe(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if not given:  # Serve's proxy sets the ID of a request, and returns it itself
                    own = (REQUEST_ID.encode(), request_id.encode())
                    message["headers"] = [*message["headers"], own]
                if told is not None:
                    message["headers"] = [*message["headers"], (_TRACE, told.encode())]
            elif is_head and message["type"] == "http.response.body":
                message["body"] = b""
            await send(message)

        self._begin(1)
        try:
            with trace.use_span(span):
                await self._app(scope, watch, observe)
        finally:
            if gone and status == 500:  # Litestar fails on the rest of the body
                status = _CLIENT_GONE
            self._begin(-1)
            route = str(scope.get("path_template") or _NO_ROUTE)
            self._instruments.add(defined.HTTP_REQUESTS, 1, route, str(status))
            seconds = time.perf_counter() - started
            self._instruments.observe(defined.HTTP_SECONDS, seconds, route)
            _end_span(span, scope, route, status)
            _log(scope, route, status)

    def _begin(self, change: int) -> None:
        self._under_way += change
        self._instruments.set(defined.HTTP_UNDER_WAY, self._under_way)


def _begin_span(scope: Scope) -> Span:
    """The span of a request, in the trace of its caller where that has one."""
    if not active():
        return INVALID_SPAN
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    return begin_span(str(scope.get("method")), SpanKind.SERVER, headers)


def _end_span(span: Span, scope: Scope, route: str, status: int) -> None:
    if not span.is_recording():
        return
    span.update_name(f"{scope.get('method')} {route}")
    span.set_attribute("http.request.method", str(scope.get("method")))
    span.set_attribute("http.route", route)
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        fail(span, str(status))
    span.end()


def _log(scope: Scope, route: str, status: int) -> None:
    """Log a request that failed, by its ID.

    Not what can be had for nothing and in any number: unknown paths, and requests that are refused
    for their key or their number.
    """
    if status < 400 or status in _UNLOGGED or route == _NO_ROUTE:
        return
    level = logging.ERROR if status >= 500 else logging.WARNING
    state = scope["state"]
    request_id, code = state["request_id"], state.get("error_code", "")
    logger.log(
        level, "request %s: %s %s: %d %s", request_id, scope.get("method"), route, status, code
    )
