"""The routes put together: an ASGI application."""

from __future__ import annotations

import logging
import re
import time
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import msgspec
from litestar import Litestar, Request, Response, get, post
from litestar.config.cors import CORSConfig
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.response import Stream
from litestar.types import ASGIApp, Message, Receive, ReceiveMessage, Scope, Send

from schemas.settings import Settings
from schemas.transcription_api import ApiModel, ApiModels, Liveness, Readiness
from serve_app.faults import log_where
from serve_app.http import openapi
from serve_app.http.errors import ApiError
from serve_app.http.manifests import read_lines, transcribe_lines
from serve_app.http.metrics import Metrics
from serve_app.http.service import Decoder, HeldStream, Service, make_service
from serve_app.http.speech import Backend
from serve_app.http.transcriptions import create_transcription

logger = logging.getLogger(__name__)

#: What a client may call its request; anything else gets a name of ours.
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,100}")
#: Counted for a request whose client went away before its answer; by nginx's example.
_GONE = 499
#: Seconds that the models have to answer a probe.
PROBE_S = 3.0


def make_api(settings: Settings, backend: Backend, decoder: Decoder) -> ASGIApp:
    """The ASGI application.

    Raises:
        serve_app.http.gate.MissingKeyError: a key is not in the environment.
    """
    service = make_service(settings, backend, decoder)
    origins = service.settings.allowed_origins
    api = Litestar(
        [create_transcription, transcribe_manifest, list_models, show_model, live, ready, metrics],
        state=State({"service": service}),
        dependencies={"service": Provide(_service, sync_to_thread=False)},
        cors_config=CORSConfig(allow_origins=origins) if origins else None,
        exception_handlers={
            ApiError: _answer_error,
            HTTPException: _answer_http_error,
            Exception: _answer_fault,
        },
        openapi_config=openapi.config(needs_key=bool(service.settings.keys)),
        on_shutdown=[decoder.close],
        request_max_body_size=None,  # ours are checked while they arrive
        logging_config=None,
    )
    openapi.add_models(api.openapi_schema, list(service.models))
    # around all of it, so that what has no route is named and counted too
    return _Observed(api, service.metrics)


def _service(state: State) -> Service:
    found: Service = state.service
    return found


@post(
    "/v1/manifests",
    status_code=200,
    operation_class=openapi.ManifestOperation,
    responses=openapi.failures(401, 408, 413, 422, 429, 500, 503),
)
async def transcribe_manifest(request: Request[Any, Any, Any], service: Service) -> Stream:
    """Transcribe the records of a manifest: lines of JSON in, a line for each out, when ready."""
    client = service.gate.client(request.headers.get("authorization"))

    def charge(seconds: float) -> None:
        client.charge(seconds)
        service.metrics.audio_seconds.labels(client.name).inc(seconds)

    async with AsyncExitStack() as held:
        held.enter_context(service.admitted(client))
        client.take(0.0)  # how long the audio is, is known only when it has been read
        file = await read_lines(
            request.stream(),
            max_bytes=service.settings.max_upload_bytes,
            timeout_s=service.settings.upload_timeout_s,
        )
        held.enter_context(file)
        lines = transcribe_lines(service.backend, file, charge)
        return HeldStream(lines, held.pop_all(), media_type="application/x-ndjson")


@get("/v1/models", responses=openapi.failures(401, 500))
async def list_models(request: Request[Any, Any, Any], service: Service) -> ApiModels:
    """What `model` of a transcription may be."""
    service.gate.client(request.headers.get("authorization"))
    return ApiModels(data=list(service.models.values()))


@get(
    "/v1/models/{name:str}",
    operation_class=openapi.ModelOperation,
    responses=openapi.failures(401, 404, 500),
)
async def show_model(request: Request[Any, Any, Any], service: Service, name: str) -> ApiModel:
    """One of them."""
    service.gate.client(request.headers.get("authorization"))
    if name not in service.models:
        raise ApiError(404, "no such model; see /v1/models", param="model", code="model_not_found")
    return service.models[name]


@get("/live", security=openapi.NO_KEY, sync_to_thread=False)
def live() -> Liveness:
    """The API runs."""
    return Liveness()


@get("/ready", security=openapi.NO_KEY, responses=openapi.not_ready())
async def ready(service: Service) -> Response[Readiness]:
    """Which models are up; 503 unless the Router and at least one of them are."""
    probe = await service.backend.probe(PROBE_S)
    models = {
        name: probe.router and name not in probe.silent
        for name, each in service.models.items()
        if each.kind == "model"
    }
    found = Readiness(ready=any(models.values()), router=probe.router, models=models)
    return Response(found, status_code=200 if found.ready else 503)


@get("/metrics", security=openapi.NO_KEY, media_type="text/plain", sync_to_thread=False)
def metrics(service: Service) -> bytes:
    """For Prometheus."""
    return service.metrics.text()


class _Observed:
    """Names each request, and counts it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # the start and the end
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"x-request-id", b"")
        name = given if _REQUEST_ID.fullmatch(given) else uuid4().hex.encode()
        scope.setdefault("state", {})["request_id"] = name.decode()
        status = _GONE  # Serve cancels such a request
        started = time.perf_counter()
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
                if not given:  # Serve names a request in front of us, and says so itself
                    message["headers"] = [*message["headers"], (b"x-request-id", name)]
            await send(message)

        self._metrics.under_way.inc()
        try:
            await self._app(scope, watch, observe)
        finally:
            if gone and status == 500:  # Litestar's, over the rest of the body
                status = _GONE
            self._metrics.under_way.dec()
            route = str(scope.get("path_template") or "other")
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - started)


def _answer_error(request: Request[Any, Any, Any], error: ApiError) -> Response[bytes]:
    return Response(
        msgspec.json.encode(error.body),
        status_code=error.status,
        headers=error.headers,
        media_type="application/json",
    )


def _answer_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Litestar's own: no such route, no such method, a broken header."""
    wrong = ApiError(error.status_code, error.detail or "not possible", code="http_error")
    answer = _answer_error(request, wrong)
    answer.headers.update(error.headers or {})
    return answer


def _answer_fault(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    log_where(error)
    name = request.scope.get("state", {}).get("request_id", "")
    reason = f"Chorus itself failed ({type(error).__name__}); please report it with {name}"
    return _answer_error(request, ApiError(500, reason, code="internal_error"))
