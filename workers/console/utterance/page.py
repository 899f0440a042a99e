"""The page of an utterance from the stream; its address names its place and can be passed on."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated

import msgspec
from litestar import Response, get
from litestar.exceptions import NotFoundException
from litestar.params import Parameter
from litestar.response import Template

from schemas.transcript import Transcript, decode_transcript
from schemas.versions import SchemaVersionError, check_version
from serve_app.audio import AudioError
from workers.console.access import needs
from workers.console.audio import answer, refusal
from workers.console.errors import Unavailable
from workers.console.pages import Page
from workers.console.place import Place
from workers.console.rendering import page
from workers.console.state import AnyRequest, Console
from workers.console.utterance.view import view_of
from workers.kafka.protocols import Record
from workers.kafka.reader import UnknownTopicError

_TRACE = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


@get("/utterances/{place:str}", guards=[needs("speech")])
async def show_utterance(request: AnyRequest, console: Console, place: str) -> Template:
    """The page."""
    message = await message_at_place(console, place)
    transcript = transcript_of(message)
    view = await asyncio.to_thread(view_of, transcript, console.settings)
    return page(
        request,
        "utterance.html.j2",
        view=view,
        transcript=transcript,
        place=place,
        timestamp=message.timestamp / 1000 if message.timestamp > 0 else None,
        trace=trace_id(message),
        source=f"/utterances/{place}/audio",
        targets=[*console.settings.plans, *console.settings.models],
    )


@get("/utterances/{place:str}/audio", guards=[needs("speech")])
async def utterance_audio(
    console: Console,
    place: str,
    range_: Annotated[str | None, Parameter(header="range")] = None,
) -> Response[bytes]:
    """The segment as WAV, or a range of its bytes."""
    where = _parsed(console, place)
    found = console.audio.kept(where)
    if found is None:
        transcript = transcript_of(await message_at_place(console, place))
        try:
            found = await console.audio.wav(where, transcript)
        except AudioError as error:
            raise refusal(error) from None
    return answer(found, range_)


def trace_id(message: Record) -> str | None:
    """The trace that a message's headers name, by W3C trace context."""
    for name, value in message.headers or ():
        if name == "traceparent" and value and (found := _TRACE.fullmatch(value)):
            return found[1].decode()
    return None


def _parsed(console: Console, text: str) -> Place:
    place = Place.parse(text)
    topic = console.settings.kafka.topics.transcripts
    if place is None or place.topic != topic:
        raise NotFoundException(f"no place of a transcript; it is {topic}-PARTITION-OFFSET")
    return place


async def message_at_place(console: Console, text: str) -> Record:
    """The message at the place that a text names.

    Raises:
        NotFoundException: there is none, or the text names none.
        Unavailable: there is no topic of transcripts.
    """
    place = _parsed(console, text)
    try:
        message = await asyncio.to_thread(console.topics.message, place)
    except UnknownTopicError as error:
        raise Unavailable(str(error)) from None
    if message is None or message.value is None:
        raise NotFoundException("there is no transcript at this place, or not any more")
    return message


def transcript_of(message: Record) -> Transcript:
    """The transcript in a message.

    Raises:
        NotFoundException: it is none.
    """
    try:
        check_version(message.headers, "transcript")
        return decode_transcript(message.value or b"")
    except (SchemaVersionError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotFoundException(f"what is at this place cannot be read: {error}") from None


PAGE = Page(None, "/utterances", "speech", (show_utterance, utterance_audio))
