"""An uploaded clip through the Router: in pieces, with retries, in order."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from msgspec.structs import replace

from schemas.failures import FailureClass, RecordError
from schemas.how import AS_ROUTED, How
from schemas.manifest import ManifestRecord
from schemas.settings import AUTO, HttpSettings
from schemas.transcript import Transcript, Word
from schemas.transcription_api import TranscriptionRequest
from serve_app.audio.speech import FRAME_S
from serve_app.engines.base import Clip
from serve_app.engines.splitting import split_at_silences
from serve_app.http.errors import ApiError, of_record
from serve_app.reading import SAMPLE_RATE
from serve_app.results import Result
from serve_app.router_client import Probe

#: Pieces in one call of the Router, and calls at once for one file.
_PIECES, _CALLS = 8, 4
#: Seconds for which a part of the service that is gone is waited for, and the pauses between.
_RETRY_S, _FIRST_PAUSE_S = 15.0, 0.3
#: How often a clip may kill a replica before it is told that it does.
_DEATHS = 2


class Backend(Protocol):
    """The Router, as `serve_app.router_client.RouterClient` reaches it."""

    async def transcribe(
        self,
        records: Sequence[ManifestRecord],
        how: How = AS_ROUTED,
        clips: Sequence[Clip] | None = None,
    ) -> list[Result]: ...

    async def probe(self, timeout_s: float = 5.0) -> Probe: ...


@dataclass(frozen=True)
class Piece:
    """A piece of a file, and what was heard in it.

    Attributes:
        start, end: in seconds from the start of the file.
        words: with times from the start of the file; None where a model has none.
    """

    start: float
    end: float
    transcript: Transcript
    words: list[Word] | None

    @property
    def text(self) -> str:
        """As it is published."""
        return self.transcript.pred_text


async def transcribe(
    backend: Backend,
    clip: Clip,
    request: TranscriptionRequest,
    request_id: str,
    settings: HttpSettings,
) -> AsyncGenerator[Piece, None]:
    """The pieces of `clip`, mono float32 at `SAMPLE_RATE`, in order, each as soon as it is there.

    Raises:
        ApiError: a piece has no transcript.
    """
    target = None if request.model == AUTO else request.model.partition(":")[0]
    how = How(target=target, words=True, interactive=True)
    spans = list(split_at_silences(clip, SAMPLE_RATE, settings.piece_seconds))
    places = asyncio.Semaphore(_CALLS)

    async def call(first: int) -> list[Piece]:
        part = spans[first : first + _PIECES]
        records = [
            _record(f"{request_id}-{first + number}", request) for number in range(len(part))
        ]
        clips = [clip[begin:end] for begin, end in part]
        async with places:
            found = await _insist(backend, records, how, clips)
        return [_piece(span, each) for span, each in zip(part, found, strict=True)]

    calls = [asyncio.create_task(call(first)) for first in range(0, len(spans), _PIECES)]
    try:
        for each in calls:
            for piece in await each:
                yield piece
    finally:
        for each in calls:
            each.cancel()


def speech_seconds(clip: Clip) -> int:
    """Whole seconds that are charged for `clip`."""
    return math.ceil(len(clip) / SAMPLE_RATE)


def _record(name: str, request: TranscriptionRequest) -> ManifestRecord:
    return ManifestRecord(
        id=name,
        audio_filepath="upload",
        lang=request.language,
        phrases=list(request.phrases) or None,
    )


async def _insist(
    backend: Backend, records: list[ManifestRecord], how: How, clips: list[Clip]
) -> list[Transcript]:
    """Transcripts of all; what fails through no fault of its own is tried again for a while."""
    found: dict[int, Transcript] = {}
    deaths = [0] * len(records)
    missing = list(range(len(records)))
    pause = _FIRST_PAUSE_S
    deadline = asyncio.get_running_loop().time() + _RETRY_S
    while True:
        results = await backend.transcribe(
            [records[i] for i in missing], how, [clips[i] for i in missing]
        )
        errors: dict[int, RecordError] = {}
        for index, result in zip(missing, results, strict=True):
            if isinstance(result, Transcript):
                found[index] = result
            else:
                errors[index] = result
                deaths[index] += result.failure is FailureClass.SUSPECT
        if not errors:
            return [found[index] for index in range(len(records))]
        late = asyncio.get_running_loop().time() + pause > deadline
        for index, error in errors.items():
            if deaths[index] >= _DEATHS:
                raise ApiError(
                    422,
                    "a model broke over this audio, twice",
                    param="file",
                    code=error.code.value,
                )
            if late or error.failure is FailureClass.POISON:
                raise of_record(error)
        missing = list(errors)
        await asyncio.sleep(pause)
        pause *= 2


def _piece(span: tuple[int, int], transcript: Transcript) -> Piece:
    start, end = (each / SAMPLE_RATE for each in span)
    words = transcript.words
    if words is not None:
        words = [
            replace(word, start=round(word.start + start, 3), end=round(word.end + start, 3))
            for word in words
        ]
    return Piece(round(start, 3), round(end, 3), transcript, words)


def whole_text(pieces: Sequence[Piece]) -> str:
    """The texts of `pieces`, joined."""
    return " ".join(each.text for each in pieces if each.text)


def silence(probabilities: Clip, start: float, end: float) -> float:
    """Less the mean of the probabilities of speech between two moments, in seconds."""
    some = probabilities[int(start / FRAME_S) : max(math.ceil(end / FRAME_S), 1)]
    return round(1 - float(np.mean(some)), 4) if len(some) else 1.0
