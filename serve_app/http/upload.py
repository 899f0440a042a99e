"""Transcribe an uploaded clip through the Router: in pieces, with retries, in order."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from msgspec import UNSET
from msgspec.structs import replace

from schemas.channels import EACH
from schemas.manifest import ManifestRecord
from schemas.requests import CallOptions
from schemas.settings import HttpSettings
from schemas.transcript import Suppressed, Transcript, Word
from schemas.transcription_request import TranscriptionRequest
from serve_app.audio.clip import SAMPLE_RATE, Clip, Recording
from serve_app.audio.voice_activity import FRAME_S
from serve_app.engines.splitting import split_at_silences
from serve_app.http.errors import record_error
from serve_app.http.retries import PatientRouter, is_outage
from serve_app.router.channels import of_channel
from serve_app.routing.written_words import written_words

#: Pieces in one call of the Router, and concurrent calls for one file.
_PIECES, _CALLS = 8, 4


@dataclass(frozen=True)
class UploadPart:
    """A piece of a file with its transcript.

    Attributes:
        start: in seconds from the start of the file.
        end: in seconds from the start of the file.
        transcript: of the piece; its times are from the start of the piece.
        words: as the text has them, with times from the start of the file; None where the model
            gives no times.
        channel: that it is of, where each is transcribed by itself.
    """

    start: float
    end: float
    transcript: Transcript
    words: list[Word] | None
    channel: int | None = None

    @property
    def text(self) -> str:
        """The text of the transcript."""
        return self.transcript.pred_text


async def transcribe(
    router: PatientRouter,
    recordings: Sequence[Recording],
    request: TranscriptionRequest,
    target: str | None,
    request_id: str,
    settings: HttpSettings,
) -> AsyncGenerator[UploadPart, None]:
    """Yield the pieces of an upload with their transcripts, in order, each as soon as it is ready.

    Of several channels, those of the first one come first.

    Args:
        router: the Router.
        recordings: the upload at `SAMPLE_RATE`: one, or each channel.
        request: the parameters of the request.
        target: the model or plan to use; None for the rules.
        request_id: prefix of the pieces' record IDs.
        settings: the section `http` of the settings.

    Raises:
        ApiError: a piece cannot be transcribed.
    """
    options = CallOptions(
        target=target,
        words=True,
        interactive=True,
        max_no_speech_prob=settings.max_no_speech_prob,
    )
    each_channel = request.channel == EACH
    spans = [
        _Span(recording, recording.channel if each_channel else None, begin, end)
        for recording in recordings
        for begin, end in split_at_silences(recording.clip, SAMPLE_RATE, settings.piece_seconds)
    ]
    slots = asyncio.Semaphore(_CALLS)

    async def call(first: int) -> list[UploadPart]:
        part = spans[first : first + _PIECES]
        records = [
            _record(request_id, first + number, request, span.recording.channel)
            for number, span in enumerate(part)
        ]
        async with slots:
            found = await _transcribe_all(router, records, options, part)
        return [_piece(span, each) for span, each in zip(part, found, strict=True)]

    calls = [asyncio.create_task(call(first)) for first in range(0, len(spans), _PIECES)]
    try:
        for each in calls:
            for piece in await each:
                yield piece
    finally:
        for each in calls:
            each.cancel()


class _Span(NamedTuple):
    """A part of a recording, in samples; `channel` is its number where each is transcribed."""

    recording: Recording
    channel: int | None
    begin: int
    end: int

    @property
    def piece(self) -> Recording:
        """The part as a recording, with what is known of the whole."""
        return self.recording._replace(clip=self.recording.clip[self.begin : self.end])


def _record(
    request_id: str, number: int, request: TranscriptionRequest, taken: int | None
) -> ManifestRecord:
    return ManifestRecord(
        id=f"{request_id}-{number}",
        audio_filepath=f"upload/{request_id}",  # the pieces are of one recording
        channel=request.channel if request.channel is None or taken is None else taken,
        lang=request.language,
        phrases=list(request.phrases) or None,
    )


async def _transcribe_all(
    router: PatientRouter,
    records: list[ManifestRecord],
    options: CallOptions,
    spans: Sequence[_Span],
) -> list[Transcript]:
    """Transcribe every record; failures of the service are retried, see `PatientRouter`.

    Raises:
        ApiError: a record is at fault, or the service is down for too long.
    """
    found = []
    faults = []
    clips = [span.piece for span in spans]
    results = await router.transcribe(records, options, clips, together=True)
    for span, result in zip(spans, results, strict=True):
        if isinstance(result, Transcript):
            found.append(result)
        else:
            faults.append(result if span.channel is None else of_channel(span.channel, result))
    if faults:  # the one at fault, rather than one that was not tried again because of it
        raise record_error(min(faults, key=is_outage))
    return found


def _piece(span: _Span, transcript: Transcript) -> UploadPart:
    """A piece with its words as the text has them, at their times in the file."""
    start, end = span.begin / SAMPLE_RATE, span.end / SAMPLE_RATE
    words = transcript.words
    if words is not None:
        if transcript.heard_text is not None:
            words = written_words(words, transcript.pred_text)
        words = [
            replace(word, start=round(word.start + start, 3), end=round(word.end + start, 3))
            for word in words
        ]
    return UploadPart(round(start, 3), round(end, 3), transcript, words, span.channel)


def join_texts(pieces: Sequence[UploadPart]) -> str:
    """The whole text of `pieces`."""
    return " ".join(each.text for each in pieces if each.text)


def suppressed(pieces: Sequence[UploadPart]) -> list[Suppressed] | None:
    """What was left out because nobody speaks there, with times from the start of the file."""
    found = [
        replace(
            each,
            start=round(each.start + piece.start, 3),
            end=round(each.end + piece.start, 3),
            channel=UNSET if piece.channel is None else piece.channel,
        )
        for piece in pieces
        for each in piece.transcript.suppressed or ()
    ]
    return sorted(found, key=lambda each: each.start) or None


def no_speech_probability(probabilities: Clip, start: float, end: float) -> float:
    """One minus the mean probability of speech between two times.

    Args:
        probabilities: of speech, one per frame of `FRAME_S` seconds.
        start: in seconds.
        end: in seconds.
    """
    some = probabilities[int(start / FRAME_S) : max(math.ceil(end / FRAME_S), 1)]
    return round(1 - float(np.mean(some)), 4) if len(some) else 1.0
