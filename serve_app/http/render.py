"""From pieces of a transcript to an answer in the format that was asked for."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from schemas.transcript import Word
from schemas.transcription_api import (
    ApiWord,
    LogProb,
    Segment,
    TextDone,
    Transcription,
    TranscriptionRequest,
    Usage,
    VerboseTranscription,
)
from schemas.transcription_api import Piece as ApiPiece
from serve_app.engines.base import Clip
from serve_app.http.segments import log_confidence, make_segments, srt, vtt
from serve_app.http.speech import Piece, silence, whole_text

#: What a client is told of the language where it has not said it itself.
UNKNOWN_LANGUAGE = "unknown"

MEDIA_TYPES = {
    "json": "application/json",
    "verbose_json": "application/json",
    "text": "text/plain",
    "srt": "application/x-subrip; charset=utf-8",
    "vtt": "text/vtt",
}


def render(
    pieces: Sequence[Piece],
    request: TranscriptionRequest,
    *,
    seconds: float,
    usage: Usage,
    speech: Clip | None,
) -> bytes:
    """The body of the answer.

    Args:
        seconds: of the file.
        speech: probabilities of speech; needed for "verbose_json".
    """
    match request.response_format:
        case "text":
            return (whole_text(pieces) + "\n").encode()
        case "srt":
            return srt(segments_of(pieces)).encode()
        case "vtt":
            return vtt(segments_of(pieces)).encode()
        case "verbose_json":
            return msgspec.json.encode(_verbose(pieces, request, seconds, usage, speech))
        case "json":
            probabilities = log_probs(pieces) if request.logprobs else None
            text = whole_text(pieces)
            return msgspec.json.encode(
                Transcription(
                    text=text,
                    usage=usage,
                    logprobs=probabilities,
                    phrases_used=phrases_used(pieces),
                )
            )


def done(pieces: Sequence[Piece], request: TranscriptionRequest, usage: Usage) -> TextDone:
    """The last event of a stream."""
    probabilities = log_probs(pieces) if request.logprobs else None
    return TextDone(text=whole_text(pieces), usage=usage, logprobs=probabilities)


def log_probs(pieces: Sequence[Piece]) -> list[LogProb]:
    """Of every word that has a confidence."""
    return [
        LogProb(word.word, found, list(word.word.encode()))
        for word in _words(pieces)
        if (found := log_confidence(word)) is not None
    ]


def phrases_used(pieces: Sequence[Piece]) -> dict[str, int] | None:
    """By model, in the piece where it listened for the fewest; None where none were asked for."""
    fewest: dict[str, int] = {}
    for piece in pieces:
        for model, count in (piece.transcript.phrases_used or {}).items():
            fewest[model] = min(count, fewest.get(model, count))
    return fewest or None


def segments_of(pieces: Sequence[Piece]) -> list[Segment]:
    """Segments by words; a piece whose model has no times is one of its own."""
    segments: list[Segment] = []
    for piece in pieces:
        words = piece.words
        if words is None and piece.text:
            words = [Word(piece.text, piece.start, piece.end, piece.transcript.confidence)]
        for each in make_segments(words or []):
            segments.append(replace(each, id=len(segments)))
    return segments


def _words(pieces: Sequence[Piece]) -> list[Word]:
    return [word for piece in pieces for word in piece.words or ()]


def _verbose(
    pieces: Sequence[Piece],
    request: TranscriptionRequest,
    seconds: float,
    usage: Usage,
    speech: Clip | None,
) -> VerboseTranscription:
    segments = None
    if "segment" in request.granularities:
        segments = segments_of(pieces)
        if speech is not None:
            segments = [
                replace(each, no_speech_prob=silence(speech, each.start, each.end))
                for each in segments
            ]
    words = None
    if "word" in request.granularities:
        words = [ApiWord(w.word, w.start, w.end, w.confidence) for w in _words(pieces)]
    return VerboseTranscription(
        task="transcribe",
        language=request.language or UNKNOWN_LANGUAGE,
        duration=round(seconds, 3),
        text=whole_text(pieces),
        usage=usage,
        segments=segments,
        words=words,
        pieces=[_piece(each) for each in pieces],
    )


def _piece(piece: Piece) -> ApiPiece:
    found = piece.transcript
    return ApiPiece(
        start=piece.start,
        end=piece.end,
        rule=found.rule,
        selected_model=found.selected_model,
        model_sha256=found.model_sha256,
        plan=found.plan,
        confidence=found.confidence,
        failed_models=found.failed_models,
        phrases_used=found.phrases_used,
        audio_measures=found.audio_measures,
        timings=msgspec.structs.asdict(found.timings),
    )
