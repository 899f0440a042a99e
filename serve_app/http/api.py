"""The ASGI application: its routes, and how its errors are answered."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, cast

import msgspec
from litestar import Litestar, Request, Response, Router, get, post
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler
from litestar.response import Redirect, Stream
from litestar.types import ASGIApp

from schemas.settings import Access, HttpSettings, Settings
from schemas.transcription_api import ApiModel, ApiModels, Liveness, Readiness
from serve_app.http import openapi
from serve_app.http.errors import ApiError, unknown_model
from serve_app.http.every_answer import Cors
from serve_app.http.manifests import read_lines, transcribe_lines
from serve_app.http.observing import Observer, metrics, watching
from serve_app.http.records import describe_records, transcribe_records
from serve_app.http.service import (
    CleanupStream,
    Decoder,
    Service,
    WorkerFaults,
    make_service,
)
from serve_app.http.transcriptions import create_transcription
from serve_app.router.protocol import Backend
from serve_app.system.logs import log_location
from serve_app.telemetry import definitions as defined
from serve_app.telemetry.instruments import Instruments

logger = logging.getLogger(__name__)

#: Time limit of the models' answers to a readiness probe, in seconds.
PROBE_S = 3.0


def make_api(
    settings: Settings,
    backend: Backend,
    decoder: Decoder,
    worker_faults: WorkerFaults = dict,
    instruments: Instruments | None = None,
) -> ASGIApp:
    """Make the ASGI application.

    Args:
        settings: the whole file.
        backend: the Router.
        decoder: decodes uploads; it is closed when the application shuts down.
        worker_faults: asks why stream workers beside the models do not run, by instance; blocks.
        instruments: that measure; None for ones of its own.

    Raises:
        schemas.settings.SettingsError: a key is not in the environment, or is there twice.
    """
    service = make_service(settings, backend, decoder, worker_faults, instruments)
    http = service.settings
    routes: list[Any] = [create_transcription, transcribe_manifest, list_models, show_model]
    routes += [live, ready, transcribe_records, describe_records]
    if http.metrics != "off":
        routes.append(_router("/", [metrics], with_key=_with_key(http, http.metrics)))
    if http.docs != "off":
        routes.append(home)
    docs = _router("/docs", [], with_key=_with_key(http, http.docs), described=False)
    api = Litestar(
        routes,
        state=State({"service": service}),
        dependencies={"service": Provide(_service, sync_to_thread=False)},
        exception_handlers={
            ApiError: _answer_error,
            HTTPException: _answer_http_error,
            Exception: _answer_internal_error,
        },
        openapi_config=openapi.config(docs, needs_key=bool(http.keys))
        if http.docs != "off"
        else None,
        lifespan=[partial(watching, service)],
        on_shutdown=[decoder.close],
        request_max_body_size=None,  # bodies are limited while they arrive, see `bodies`
        logging_config=None,
    )
    if http.docs != "off":
        openapi.complete(api.openapi_schema, list(service.models))
    app: Any = Cors(cast(Any, api), http.allowed_origins) if http.allowed_origins else api
    # outermost, so that requests without a route get an ID and are counted too
    return Observer(app, service.instruments)


def _with_key(http: HttpSettings, access: Access) -> bool:
    return access == "key" and bool(http.keys)


def _router(path: str, handlers: list[Any], *, with_key: bool, described: bool = True) -> Router:
    """Routes that need a key, or that everybody may use; the document may describe them."""
    guards: list[Any] = [_need_key] if with_key else []
    security = None if with_key else openapi.NO_KEY
    return Router(
        path=path,
        route_handlers=handlers,
        guards=guards,
        security=security,
        include_in_schema=described,
    )


def _need_key(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    _service(connection.app.state).client(connection)


def _service(state: State) -> Service:
    found: Service = state.service
    return found


@post(
    "/v1/manifests",
    status_code=200,
    operation_class=openapi.ManifestOperation,
    responses=openapi.error_responses(400, 401, 408, 413, 415, 429, 500, 503),
)
async def transcribe_manifest(request: Request[Any, Any, Any], service: Service) -> Stream:
    """Transcribe the records of a manifest.

    The body has a record per line, as JSON; it may be compressed (gzip, zstd, bzip2, xz). The
    response has a line per record, in the order in which they are finished: its transcript, or the
    record with `processing_error`.
    """
    client = service.client(request)

    def charge(seconds: float) -> None:
        client.charge(seconds)
        service.instruments.add(defined.HTTP_AUDIO, seconds, client.name)

    async with AsyncExitStack() as resources:
        resources.enter_context(service.admitted(client))
        client.take(0.0)  # the length of the audio is known only once it has been read
        file = await read_lines(
            request.stream(),
            request.headers,
            max_bytes=service.settings.max_upload_bytes,
            timeout_s=service.settings.upload_timeout_s,
        )
        resources.enter_context(file)
        lines = transcribe_lines(service.router, file, charge)
        return CleanupStream(lines, resources.pop_all(), media_type="application/x-ndjson")


@get(
    "/v1/models",
    response_description="The models, plans and rules.",
    responses=openapi.error_responses(401, 429, 500),
)
async def list_models(request: Request[Any, Any, Any], service: Service) -> ApiModels:
    """List everything that `model` of a transcription can name: models, plans and rules."""
    service.client(request)
    return ApiModels(data=list(service.models.values()))


@get(
    "/v1/models/{name:path}",
    operation_class=openapi.ModelOperation,
    response_description="The model, plan or rules of that name.",
    responses=openapi.error_responses(401, 404, 429, 500),
)
async def show_model(request: Request[Any, Any, Any], service: Service, name: str) -> ApiModel:
    """Describe one name of `/v1/models`."""
    service.client(request)
    name = name.removeprefix("/")  # Litestar's paths begin with one; names of others may have some
    if name not in service.models:
        advice = "GET /v1/models lists those that do"
        raise unknown_model(name, service.models, advice)
    return service.models[name]


@get(
    "/live",
    response_description="The process is running.",
    security=openapi.NO_KEY,
    sync_to_thread=False,
)
def live() -> Liveness:
    """Report that the API process is running."""
    return Liveness()


@get(
    ["/ready", "/health"],
    response_description="The Router and at least one model are up.",
    security=openapi.NO_KEY,
    responses=openapi.not_ready_response(),
)
async def ready(service: Service) -> Response[Readiness]:
    """Report which models are up; 503 unless the Router and at least one model are."""
    probe = await service.backend.probe(PROBE_S)
    models = {
        name: probe.router and name not in (*probe.silent, *probe.missing)
        for name, each in service.models.items()
        if each.kind == "model"
    }
    found = Readiness(
        ready=any(models.values()),
        router=probe.router,
        models=models,
        missing=list(probe.missing),
        worker_faults=dict(await asyncio.to_thread(service.worker_faults)),
    )
    return Response(found, status_code=200 if found.ready else 503)


@get("/", include_in_schema=False, sync_to_thread=False)
def home() -> Redirect:
    """Lead whoever opens the address in a browser to the documentation."""
    return Redirect("/docs")


def _answer_error(request: Request[Any, Any, Any], error: ApiError) -> Response[bytes]:
    request.scope["state"]["error_code"] = error.code
    return Response(
        msgspec.json.encode(error.body),
        status_code=error.status,
        headers=error.headers,
        media_type="application/json",
    )


def _answer_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Answer an error of Litestar: an unknown route or method, an invalid header."""
    reason = error.detail or "the request is invalid"
    if error.status_code == 404:
        reason = "there is nothing at this path; " + (
            "this API only transcribes, at /v1/audio/transcriptions and /v1/manifests"
            if request.url.path.startswith("/v1/")
            else "the paths of the API begin with /v1, so the base URL of a client ends in /v1"
        )
    elif error.status_code == 405 and (allowed := (error.headers or {}).get("allow")):
        methods = ", ".join(sorted(allowed.split(", ")))
        reason = f"this path takes {methods}, not {request.method}"
    answer = _answer_error(request, ApiError(error.status_code, reason, code="http_error"))
    answer.headers.update(error.headers or {})
    return answer


def _answer_internal_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    log_location(error)
    request_id = request.scope.get("state", {}).get("request_id", "")
    reason = (
        f"internal error ({type(error).__name__}); please report it with the request ID "
        f"{request_id}"
    )
    return _answer_error(request, ApiError(500, reason, code="internal_error"))
