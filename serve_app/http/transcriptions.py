"""`POST /v1/audio/transcriptions`, as OpenAI's clients speak it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from typing import Any

import msgspec
from litestar import Request, Response, post

from schemas.failures import RecordError
from schemas.transcription_api import TextDelta, TranscriptionRequest, Usage
from serve_app.audio import AudioError
from serve_app.audio.speech import speech_probabilities
from serve_app.engines.base import Clip
from serve_app.http import openapi
from serve_app.http.errors import ApiError, invalid, of_record
from serve_app.http.forms import read_form
from serve_app.http.gate import Client
from serve_app.http.parameters import read_parameters
from serve_app.http.render import MEDIA_TYPES, done, render
from serve_app.http.service import HeldStream, Service
from serve_app.http.speech import Piece, speech_seconds, transcribe
from serve_app.reading import SAMPLE_RATE


@post(
    "/v1/audio/transcriptions",
    status_code=200,
    operation_class=openapi.TranscriptionOperation,
    responses={
        **openapi.transcribed(),
        **openapi.failures(401, 404, 408, 413, 415, 422, 429, 500, 503),
    },
)
async def create_transcription(request: Request[Any, Any, Any], service: Service) -> Response[Any]:
    """Transcribe a file."""
    settings = service.settings
    client = service.gate.client(request.headers.get("authorization"))
    async with AsyncExitStack() as held:
        held.enter_context(service.admitted(client))
        deadline = asyncio.get_running_loop().time() + settings.timeout_s
        asked, clip = await _receive(request, service, client)
        usage = Usage(speech_seconds(clip))
        pieces = transcribe(service.backend, clip, asked, request.state.request_id, settings)
        if asked.stream:
            events = _events(pieces, asked, usage, deadline)
            headers = {"cache-control": "no-cache"}
            kind = "text/event-stream"
            return HeldStream(events, held.pop_all(), media_type=kind, headers=headers)
        async with aclosing(pieces):
            found = await _all(pieces, deadline)
        speech = None
        if asked.response_format == "verbose_json":
            speech = await asyncio.to_thread(speech_probabilities, clip)
        seconds = len(clip) / SAMPLE_RATE
        body = render(found, asked, seconds=seconds, usage=usage, speech=speech)
        return Response(body, media_type=MEDIA_TYPES[asked.response_format])


async def _receive(
    request: Request[Any, Any, Any], service: Service, client: Client
) -> tuple[TranscriptionRequest, Clip]:
    """What is asked for, and the audio, paid for."""
    settings = service.settings
    form = await read_form(
        request.stream(),
        request.headers.get("content-type", ""),
        max_bytes=settings.max_upload_bytes,
        timeout_s=settings.upload_timeout_s,
    )
    try:
        asked = read_parameters(form.fields, list(service.models))
        if form.file is None:
            raise invalid("give the audio as `file`", "file")
        client.take(0.0)  # who may not go on now need not wait for the decoding
        clip = await service.decoder.decode(form.file.fd)
    except AudioError as error:
        raise of_record(RecordError(id="", code=error.code, message=str(error))) from None
    finally:
        form.close()
    client.take(len(clip) / SAMPLE_RATE)
    service.metrics.audio_seconds.labels(client.name).inc(len(clip) / SAMPLE_RATE)
    return asked, clip


async def _all(pieces: AsyncGenerator[Piece, None], deadline: float) -> list[Piece]:
    found = []
    while (piece := await _next(pieces, deadline)) is not None:
        found.append(piece)
    return found


async def _next(pieces: AsyncGenerator[Piece, None], deadline: float) -> Piece | None:
    """The next piece; None after the last.

    The time limit ends before the piece is sent: a reader that is slow would be ended by it in the
    middle of an answer.
    """
    try:
        async with asyncio.timeout_at(deadline):
            return await anext(pieces, None)
    except TimeoutError:
        raise ApiError(
            503, "the answer took too long; try again or send less", code="timeout"
        ) from None


async def _events(
    pieces: AsyncGenerator[Piece, None],
    asked: TranscriptionRequest,
    usage: Usage,
    deadline: float,
) -> AsyncGenerator[bytes, None]:
    """Server-sent events: the text of each piece as soon as it is there, then all of it."""
    found: list[Piece] = []
    async with aclosing(pieces):
        try:
            while (piece := await _next(pieces, deadline)) is not None:
                delta = f" {piece.text}" if any(each.text for each in found) else piece.text
                found.append(piece)
                if piece.text:
                    yield _event(TextDelta(delta))
            yield _event(done(found, asked, usage))
        except ApiError as error:  # too late for a status
            yield _event(error.body)


def _event(content: msgspec.Struct) -> bytes:
    return b"data: " + msgspec.json.encode(content) + b"\n\n"
