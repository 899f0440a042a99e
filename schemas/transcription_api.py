"""What the HTTP API takes and gives: OpenAI's transcription types, and what we add to them."""

from __future__ import annotations

from typing import Literal

import msgspec

ResponseFormat = Literal["json", "text", "srt", "vtt", "verbose_json"]
Granularity = Literal["word", "segment"]


class ErrorDetails(msgspec.Struct, frozen=True):
    """What is wrong.

    Attributes:
        message: for people.
        type: "invalid_request_error", "authentication_error", "rate_limit_error", ...
        param: name of the parameter at fault.
        code: for programs: one of `schemas.failures.ErrorCode`, or of the API itself.
    """

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(msgspec.Struct, frozen=True):
    """The body of every answer that is no success."""

    error: ErrorDetails


class TranscriptionRequest(msgspec.Struct, kw_only=True, frozen=True):
    """The fields of a request beside its file.

    Attributes:
        model: a model of the settings, a plan, or "auto" for the rules. ``NAME:VERSION`` is a model
            as long as it serves that version.
        language: BCP 47; a hint, for rules.
        phrases: of `prompt` and `keywords[]`.
    """

    model: str
    language: str | None = None
    phrases: tuple[str, ...] = ()
    response_format: ResponseFormat = "json"
    granularities: frozenset[Granularity] = frozenset({"segment"})
    logprobs: bool = False
    stream: bool = False


class Usage(msgspec.Struct, frozen=True, tag_field="type", tag="duration"):
    """What was transcribed, in whole seconds of audio."""

    seconds: int


class LogProb(msgspec.Struct, frozen=True):
    """A word, and the natural logarithm of the confidence in it."""

    token: str
    logprob: float
    bytes: list[int]


class ApiWord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A word with its times in seconds from the start of the file. `confidence` is ours."""

    word: str
    start: float
    end: float
    confidence: float | None = None


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """Words that belong together, as a subtitle shows them.

    Attributes:
        id: its number, from 0.
        seek: its start in hundredths of a second.
        start, end: in seconds from the start of the file.
        tokens: empty: the models' pieces mean nothing outside them.
        temperature: 0: decoding is greedy.
        avg_logprob: mean of the natural logarithms of the words' confidences.
        compression_ratio: bytes of the text by those of its deflated form, as Whisper has it.
        no_speech_prob: less the mean probability of speech, by Silero VAD.
    """

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: list[int] = []
    temperature: float = 0.0
    avg_logprob: float | None = None
    compression_ratio: float = 1.0
    no_speech_prob: float | None = None


class Piece(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What no other API tells: how a file, or each piece of a long one, was transcribed.

    Attributes:
        start, end: of the piece, in seconds.
        rule, plan, selected_model, model_sha256, confidence, failed_models, phrases_used,
            audio_measures, timings: see `schemas.transcript.Transcript`.
    """

    start: float
    end: float
    rule: str
    selected_model: str
    model_sha256: str = ""
    plan: str | None = None
    confidence: float | None = None
    failed_models: dict[str, str] | None = None
    phrases_used: dict[str, int] | None = None
    audio_measures: dict[str, float] = {}
    timings: dict[str, float] = {}


class Transcription(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An answer in the format "json". `phrases_used` is ours, see `Piece`."""

    text: str
    usage: Usage
    logprobs: list[LogProb] | None = None
    phrases_used: dict[str, int] | None = None


class VerboseTranscription(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An answer in the format "verbose_json"."""

    task: str
    language: str
    duration: float
    text: str
    usage: Usage
    segments: list[Segment] | None = None
    words: list[ApiWord] | None = None
    pieces: list[Piece]


class TextDelta(msgspec.Struct, frozen=True, tag_field="type", tag="transcript.text.delta"):
    """An event of a stream: more text."""

    delta: str


class TextDone(
    msgspec.Struct, frozen=True, tag_field="type", tag="transcript.text.done", omit_defaults=True
):
    """The last event of a stream: the whole text."""

    text: str
    usage: Usage
    logprobs: list[LogProb] | None = None


class ApiModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model, a plan or "auto", as a name for `model`.

    Attributes:
        kind: "model", "plan", "rules", or "version" for a model under the name of the version that
            is served.
        models: those that it may ask.
    """

    id: str
    object: str
    created: int
    owned_by: str
    kind: str
    models: list[str]


class ApiModels(msgspec.Struct, frozen=True, kw_only=True):
    """All of them."""

    object: str = "list"
    data: list[ApiModel]


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether requests can be answered, and which models are up."""

    ready: bool
    router: bool
    models: dict[str, bool]


class Liveness(msgspec.Struct, frozen=True):
    """The API itself runs."""

    status: str = "ok"
