"""`POST /v1/audio/transcriptions`, compatible with OpenAI's clients."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from typing import Any

import msgspec
from litestar import Request, Response, post

from schemas.channels import EACH, Channel
from schemas.failures import RecordError
from schemas.transcription_api import TextDelta
from schemas.transcription_request import TranscriptionRequest
from serve_app.audio import AudioError
from serve_app.audio.channels import others
from serve_app.audio.clip import SAMPLE_RATE, Clip, Recording
from serve_app.audio.voice_activity import speech_probabilities
from serve_app.http import openapi
from serve_app.http.errors import ApiError, invalid, record_error
from serve_app.http.every_answer import MODEL, WITHOUT_EFFECT
from serve_app.http.forms import read_form
from serve_app.http.gate import Client
from serve_app.http.parameters import check_streamed, read_parameters
from serve_app.http.render import MEDIA_TYPES, done_event, made_by, model_header, render
from serve_app.http.service import CleanupStream, Service
from serve_app.http.upload import UploadPart, transcribe
from serve_app.telemetry import definitions as defined

logger = logging.getLogger(__name__)


@post(
    "/v1/audio/transcriptions",
    status_code=200,
    operation_class=openapi.TranscriptionOperation,
    responses={
        **openapi.transcription_response(),
        **openapi.error_responses(400, 401, 404, 408, 413, 415, 429, 500, 503),
    },
)
async def create_transcription(request: Request[Any, Any, Any], service: Service) -> Response[Any]:
    """Transcribe an audio or video file."""
    settings = service.settings
    client = service.client(request)
    async with AsyncExitStack() as resources:
        resources.enter_context(service.admitted(client))
        deadline = asyncio.get_running_loop().time() + settings.timeout_s
        parameters, recordings = await _receive(request, service, client)
        seconds, request_id = len(recordings[0].clip) / SAMPLE_RATE, request.state.request_id
        pieces = transcribe(
            service.router,
            recordings,
            parameters,
            service.target(parameters.model),
            request_id,
            settings,
        )
        headers = _notes(parameters)
        if parameters.stream:
            events = _events(pieces, parameters, seconds, deadline, request_id)
            headers["cache-control"] = "no-cache"
            kind = "text/event-stream"
            return CleanupStream(events, resources.pop_all(), media_type=kind, headers=headers)
        async with aclosing(pieces):
            found = await _all(pieces, deadline)
        speech: dict[int | None, Clip] = {}
        if parameters.response_format == "verbose_json":
            for each in recordings:
                channel = each.channel if parameters.channel == EACH else None
                speech[channel] = await asyncio.to_thread(speech_probabilities, each.clip)
        body = render(found, parameters, seconds=seconds, speech=speech)
        kind = MEDIA_TYPES[parameters.response_format]
        headers[MODEL] = model_header(made_by(found))
        return Response(body, media_type=kind, headers=headers)


def _notes(parameters: TranscriptionRequest) -> dict[str, str]:
    """The header that names the parameters without effect: some formats have no place for them."""
    names = ", ".join(parameters.without_effect)
    return {WITHOUT_EFFECT: names} if names else {}


async def _receive(
    request: Request[Any, Any, Any], service: Service, client: Client
) -> tuple[TranscriptionRequest, list[Recording]]:
    """Read the parameters and the audio, and charge the client for the audio."""
    settings = service.settings
    form = await read_form(
        request.stream(),
        request.headers,
        max_bytes=settings.max_upload_bytes,
        timeout_s=settings.upload_timeout_s,
    )
    try:
        parameters = read_parameters(form.fields, list(service.models))
        if form.file is None:
            raise invalid("the form has no file; send the audio as `file`", "file")
        client.take(0.0)  # a client over its limit is refused before the decoding
        if parameters.channel is None:
            parameters = msgspec.structs.replace(parameters, channel=service.audio.channel)
            if parameters.stream:
                check_streamed(parameters.channel)
        recordings = await _decode(service, form.file.fd, parameters.channel)
    except AudioError as error:
        raise record_error(RecordError(id="", code=error.code, message=str(error))) from None
    finally:
        form.close()
    seconds = sum(len(each.clip) for each in recordings) / SAMPLE_RATE
    client.take(seconds)
    service.instruments.add(defined.HTTP_AUDIO, seconds, client.name)
    return parameters, recordings


async def _decode(service: Service, file: int, channel: Channel | None) -> list[Recording]:
    """The audio of an upload: one recording, or each of its channels.

    Raises:
        AudioError: it cannot be decoded.
    """
    if channel != EACH:
        return [await service.decoder.decode(file, channel=channel)]
    first = await service.decoder.decode(file, channel=0)
    try:
        left = others(first, service.audio)
    except AudioError as error:
        raise AudioError(error.code, f"the file {error.message}") from None
    return [first, *[await service.decoder.decode(file, channel=each) for each in left]]


async def _all(pieces: AsyncGenerator[UploadPart, None], deadline: float) -> list[UploadPart]:
    found = []
    while (piece := await _next(pieces, deadline)) is not None:
        found.append(piece)
    return found


async def _next(pieces: AsyncGenerator[UploadPart, None], deadline: float) -> UploadPart | None:
    """Wait for the next piece; None after the last.

    The time limit does not include sending the piece: it would cut off the response to a slow
    reader.
    """
    try:
        async with asyncio.timeout_at(deadline):
            return await anext(pieces, None)
    except TimeoutError:
        raise ApiError(
            503, "the transcription took too long; try again, or send less audio", code="timeout"
        ) from None


async def _events(
    pieces: AsyncGenerator[UploadPart, None],
    parameters: TranscriptionRequest,
    seconds: float,
    deadline: float,
    request_id: str,
) -> AsyncGenerator[bytes, None]:
    """Server-sent events: the text of each piece as soon as it is ready, then the whole text."""
    found: list[UploadPart] = []
    async with aclosing(pieces):
        try:
            while (piece := await _next(pieces, deadline)) is not None:
                delta = f" {piece.text}" if any(each.text for each in found) else piece.text
                found.append(piece)
                if piece.text:
                    yield _event(TextDelta(delta))
            yield _event(done_event(found, parameters, seconds))
        except ApiError as error:  # too late for an error status
            logger.error("request %s: the stream ended: %s", request_id, error.code)
            yield _event(error.body)


def _event(content: msgspec.Struct) -> bytes:
    return b"data: " + msgspec.json.encode(content) + b"\n\n"
