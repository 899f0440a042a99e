"""Render the pieces of a transcript as a response in the requested format."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from schemas.transcript import Word
from schemas.transcription_api import (
    ApiWord,
    InputTokens,
    LogProb,
    MadeBy,
    Segment,
    TextDone,
    TokenUsage,
    Transcription,
    Usage,
    VerboseTranscription,
)
from schemas.transcription_api import Piece as ApiPiece
from schemas.transcription_request import SubtitleShape, TranscriptionRequest
from serve_app.audio.clip import Clip
from serve_app.http.segments import log_confidence, make_segments, shown, srt, vtt
from serve_app.http.speakers import (
    by_channel,
    channels_of,
    speaker,
    timed_words,
    whole_text,
    words_of_text,
)
from serve_app.http.upload import UploadPart, join_texts, no_speech_probability, suppressed

#: The language in a response to a request without one.
UNKNOWN_LANGUAGE = "unknown"

#: Characters that the name of a speaker takes before the words.
_NAME_WIDTH = len(speaker(0)) + 2
_TOKEN = re.compile(r"[A-Za-z0-9._-]{1,128}")

MEDIA_TYPES = {
    "json": "application/json",
    "verbose_json": "application/json",
    "text": "text/plain",
    "srt": "application/x-subrip; charset=utf-8",
    "vtt": "text/vtt",
}


def render(
    pieces: Sequence[UploadPart],
    request: TranscriptionRequest,
    *,
    seconds: float,
    speech: Mapping[int | None, Clip],
) -> bytes:
    """Render the body of a response.

    Args:
        pieces: all pieces of the file, in order.
        request: the parameters of the request.
        seconds: length of the file.
        speech: probabilities of speech by frame, of each channel; for "verbose_json".
    """
    match request.response_format:
        case "text":
            return (whole_text(pieces) + "\n").encode()
        case "srt":
            return srt(_subtitles(pieces, request, seconds), request.subtitles).encode()
        case "vtt":
            return vtt(_subtitles(pieces, request, seconds), request.subtitles).encode()
        case "verbose_json":
            return msgspec.json.encode(_verbose(pieces, request, seconds, speech))
        case "json":
            probabilities = log_probs(pieces) if request.logprobs else None
            return msgspec.json.encode(
                Transcription(
                    text=whole_text(pieces),
                    usage=_usage(pieces, seconds),
                    models=made_by(pieces),
                    logprobs=probabilities,
                    phrases_used=phrases_used(pieces),
                    without_effect=request.without_effect or None,
                    suppressed=suppressed(pieces),
                    channels=channels_of(pieces),
                )
            )


def done_event(
    pieces: Sequence[UploadPart], request: TranscriptionRequest, seconds: float
) -> TextDone:
    """The last event of a stream.

    Args:
        pieces: all pieces of the file, in order.
        request: the parameters of the request.
        seconds: length of the file.
    """
    text = join_texts(pieces)
    audio, words = math.ceil(round(seconds * 10, 3)), len(text.split())
    return TextDone(
        text=text,
        usage=TokenUsage(
            input_tokens=audio,
            output_tokens=words,
            total_tokens=audio + words,
            input_token_details=InputTokens(audio),
        ),
        models=made_by(pieces),
        logprobs=log_probs(pieces) if request.logprobs else None,
        without_effect=request.without_effect or None,
        suppressed=suppressed(pieces),
    )


def made_by(pieces: Sequence[UploadPart]) -> list[MadeBy]:
    """The models that made the text, each once, in the order of their first pieces."""
    found = [each.transcript for each in pieces]
    return list(
        dict.fromkeys(
            MadeBy(
                name=each.selected_model,
                version=each.model_version,
                sha256=each.model_sha256 or None,
                arm=each.arm,
            )
            for each in found
        )
    )


def model_header(models: Sequence[MadeBy]) -> str:
    """The models as the value of a header: ``medical;version=2;sha256=ab12, general``.

    What an engine of its own calls a digest is left out if no header can have it.
    """
    return ", ".join(
        ";".join(
            [
                each.name,
                *([f"version={each.version}"] if each.version else []),
                *([f"sha256={each.sha256}"] if _TOKEN.fullmatch(each.sha256 or "") else []),
                *([f"arm={each.arm}"] if each.arm else []),
            ]
        )
        for each in models
    )


def _usage(pieces: Sequence[UploadPart], seconds: float) -> Usage:
    return Usage(math.ceil(seconds * len(by_channel(pieces))))


def log_probs(pieces: Sequence[UploadPart]) -> list[LogProb]:
    """The log probability of every word that has a confidence, in the order of the text."""
    return [
        LogProb(word.word, found, list(word.word.encode()))
        for word in words_of_text(pieces)
        if (found := log_confidence(word)) is not None
    ]


def phrases_used(pieces: Sequence[UploadPart]) -> dict[str, int] | None:
    """How many phrases each model was biased towards, in the piece with the fewest.

    None if the request has no phrases.
    """
    fewest: dict[str, int] = {}
    for piece in pieces:
        for model, count in (piece.transcript.phrases_used or {}).items():
            fewest[model] = min(count, fewest.get(model, count))
    return fewest or None


def segments_of(pieces: Sequence[UploadPart], shape: SubtitleShape) -> list[Segment]:
    """Group the words into segments; a piece without word times becomes one segment.

    Those of several channels are in the order in which they begin.
    """
    found = [
        each if channel is None else replace(each, channel=channel, speaker=speaker(channel))
        for channel, some in by_channel(pieces).items()
        for each in _segments_of_one(some, shape)
    ]
    found.sort(key=lambda each: each.start)
    return [replace(each, id=number) for number, each in enumerate(found)]


def _segments_of_one(pieces: Sequence[UploadPart], shape: SubtitleShape) -> list[Segment]:
    groups: list[list[Word]] = [[]]
    for piece in pieces:
        if piece.words is not None:
            groups[-1] += piece.words
        else:
            groups += [[*timed_words(piece)], []]
    return [each for words in groups for each in make_segments(words, shape)]


def _subtitles(
    pieces: Sequence[UploadPart], request: TranscriptionRequest, seconds: float
) -> list[Segment]:
    shape = request.subtitles
    fits = shape
    if request.response_format == "srt" and channels_of(pieces):  # its lines have room for names
        fits = replace(shape, line_width=max(shape.line_width - _NAME_WIDTH, 1))
    return shown(segments_of(pieces, fits), shape, seconds)


def _words(pieces: Sequence[UploadPart]) -> list[tuple[Word, int | None]]:
    """The words with their channels, in time order."""
    words = [(word, piece.channel) for piece in pieces for word in piece.words or ()]
    return words if len(by_channel(pieces)) < 2 else sorted(words, key=lambda word: word[0].start)


def _verbose(
    pieces: Sequence[UploadPart],
    request: TranscriptionRequest,
    seconds: float,
    speech: Mapping[int | None, Clip],
) -> VerboseTranscription:
    segments = None
    if "segment" in request.granularities:
        segments = segments_of(pieces, request.subtitles)
        segments = [_with_silence(each, speech) for each in segments]
    words = None
    if "word" in request.granularities:
        words = [
            ApiWord(each.word, each.start, each.end, each.confidence, channel)
            for each, channel in _words(pieces)
        ]
    return VerboseTranscription(
        task="transcribe",
        language=request.language or UNKNOWN_LANGUAGE,
        duration=round(seconds, 3),
        text=whole_text(pieces),
        usage=_usage(pieces, seconds),
        segments=segments,
        words=words,
        models=made_by(pieces),
        pieces=[_piece(each) for each in pieces],
        without_effect=request.without_effect or None,
        suppressed=suppressed(pieces),
        channels=channels_of(pieces),
    )


def _with_silence(segment: Segment, speech: Mapping[int | None, Clip]) -> Segment:
    heard = speech[None if segment.channel is UNSET else segment.channel]
    found = no_speech_probability(heard, segment.start, segment.end)
    return replace(segment, no_speech_prob=found)


def _piece(piece: UploadPart) -> ApiPiece:
    found = piece.transcript
    return ApiPiece(
        start=piece.start,
        end=piece.end,
        rule=found.rule,
        selected_model=found.selected_model,
        model_sha256=found.model_sha256,
        model_version=found.model_version,
        plan=found.plan,
        confidence=found.confidence,
        failed_models=found.failed_models,
        phrases_used=found.phrases_used,
        audio_measures=found.audio_measures,
        channel=piece.channel,
        timings=msgspec.structs.asdict(found.timings),
    )
