"""The route for stream workers elsewhere: a call of the Router, as `RouterClient` makes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litestar import Request, Response, get, post

from schemas.manifest import MAX_EXTRA_DEPTH, is_too_deep
from schemas.records_call import (
    MEDIA_TYPE,
    PATH,
    RecordsAnswer,
    RecordsCall,
    RecordsInfo,
    decode,
    encode,
)
from schemas.transcript import Transcript
from serve_app.http.bodies import declared_length, receive
from serve_app.http.errors import ApiError, invalid
from serve_app.http.service import Service
from serve_app.telemetry import definitions as defined


@post(PATH, status_code=200, include_in_schema=False)
async def transcribe_records(request: Request[Any, Any, Any], service: Service) -> Response[bytes]:
    """Transcribe a list of records by one call of the Router.

    Errors come back as they are, and are not tried again here: the stream worker does that, and
    knows which records it has to try alone.
    """
    client = service.client(request)
    with service.admitted(client):
        client.take(0.0)  # the length of the audio is known only once it has been read
        call = _call(await _body(request, service))
        results = await service.backend.transcribe(call.records, call.options)
        for each in results:
            if isinstance(each, Transcript):
                client.charge(each.transcribed_seconds)
                service.instruments.add(defined.HTTP_AUDIO, each.transcribed_seconds, client.name)
    return Response(encode(RecordsAnswer.of(results)), media_type=MEDIA_TYPE)


@get(PATH, include_in_schema=False, sync_to_thread=False)
def describe_records(request: Request[Any, Any, Any], service: Service) -> RecordsInfo:
    """Say which settings the API has, so that a worker with others finds out before it begins."""
    service.client(request)
    return RecordsInfo(settings=service.settings_digest)


async def _body(request: Request[Any, Any, Any], service: Service) -> bytes:
    _check_type(request.headers)
    most, body = service.settings.max_upload_bytes, bytearray()

    async def take(chunk: bytes) -> None:
        body.extend(chunk)

    reason = f"the body has more than {most} bytes; lower `stream.batch_records`"
    await receive(
        request.stream(),
        take,
        max_bytes=most,
        timeout_s=service.settings.upload_timeout_s,
        too_large=ApiError(413, reason, code="body_too_large"),
        declared=declared_length(request.headers),
    )
    return bytes(body)


def _check_type(headers: Mapping[str, str]) -> None:
    found = headers.get("content-type", "").partition(";")[0].strip().lower()
    if found != MEDIA_TYPE:
        raise ApiError(
            415,
            f"this path is for stream workers and takes {MEDIA_TYPE}; manifests go to "
            "/v1/manifests, as JSON lines",
            code="unsupported_media_type",
        )


def _call(body: bytes) -> RecordsCall:
    try:
        call = decode(body, RecordsCall)
    except ValueError as error:
        raise invalid(f"the body is no list of records: {error}") from None
    for record in call.records:
        if any(map(is_too_deep, record.extra.values())):
            raise invalid(f"a record is nested more than {MAX_EXTRA_DEPTH} levels deep")
    return call
