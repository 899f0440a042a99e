"""What the HTTP API answers: the types of OpenAI's transcription endpoint, and what Chorus adds.

The docstrings are the descriptions in the OpenAPI document (`serve_app.http.openapi`).
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from schemas.transcript import Suppressed


class ErrorDetails(msgspec.Struct, frozen=True):
    """Why a request failed.

    Attributes:
        message: What is wrong and what to do, for people.
        type: The kind of error, such as "invalid_request_error", "authentication_error" or
            "rate_limit_error".
        param: Name of the parameter at fault, if there is one.
        code: The error code, for programs.
    """

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(msgspec.Struct, frozen=True):
    """The body of every response with an error status.

    Attributes:
        error: Why the request failed.
    """

    error: ErrorDetails


class Usage(msgspec.Struct, frozen=True, tag_field="type", tag="duration"):
    """How much audio was transcribed.

    Attributes:
        seconds: Length of the audio in seconds, rounded up; of all channels together where each is
            transcribed.
    """

    seconds: int


class InputTokens(msgspec.Struct, frozen=True):
    """What the input tokens of a stream's usage are.

    Attributes:
        audio_tokens: All of them.
        text_tokens: Always 0: a prompt is not counted.
    """

    audio_tokens: int
    text_tokens: int = 0


class TokenUsage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="tokens"):
    """How much audio a stream transcribed, in the unit that OpenAI's clients read there.

    Attributes:
        input_tokens: Length of the audio in tenths of a second, rounded up.
        output_tokens: Number of words in the text.
        total_tokens: The sum of both.
        input_token_details: What the input tokens are.
    """

    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_token_details: InputTokens


class LogProb(msgspec.Struct, frozen=True):
    """A word with the log probability that it is right.

    Attributes:
        token: The word.
        logprob: Natural logarithm of the confidence in the word.
        bytes: The word's UTF-8 bytes.
    """

    token: str
    logprob: float
    bytes: list[int]


class ApiWord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A word with its times.

    Attributes:
        word: The word, as the model writes it.
        start: Start in seconds from the start of the file.
        end: End in seconds from the start of the file.
        confidence: Confidence from 0 to 1, where the model has one. Not in OpenAI's API.
        channel: Number of its channel from 0, with `channel=each`. Not in OpenAI's API.
    """

    word: str
    start: float
    end: float
    confidence: float | None = None
    channel: int | None = None


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """Consecutive words that fit one subtitle.

    Attributes:
        id: Number of the segment, from 0.
        seek: Start in hundredths of a second.
        start: Start in seconds from the start of the file.
        end: End in seconds from the start of the file.
        text: The words.
        tokens: Always empty: the models' tokens have no meaning outside them.
        temperature: Always 0: decoding is greedy.
        avg_logprob: Mean of the natural logarithms of the words' confidences; 0 where the model has
            no confidences.
        compression_ratio: Bytes of the text divided by the bytes of its deflated form, as in
            Whisper.
        no_speech_prob: One minus the mean probability of speech, by Silero VAD.
        channel: Number of its channel from 0, with `channel=each`. Not in OpenAI's API.
        speaker: Name of the speaker on that channel, such as "Speaker 1". Not in OpenAI's API.
    """

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: list[int] = []
    temperature: float = 0.0
    avg_logprob: float = 0.0
    compression_ratio: float = 1.0
    no_speech_prob: float = 0.0
    channel: int | UnsetType = UNSET
    speaker: str | UnsetType = UNSET


class ApiChannel(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is said on one channel. Not in OpenAI's API.

    Attributes:
        channel: Number of the channel, from 0.
        speaker: What subtitles call its speaker.
        text: The transcript of the channel; empty where nobody speaks.
        equal: Further channels that hold the same audio, which is transcribed once.
    """

    channel: int
    speaker: str
    text: str
    equal: list[int] | None = None


class Piece(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a file, or each piece of a long one, was transcribed. Not in OpenAI's API.

    Attributes:
        start: Start in seconds from the start of the file.
        end: End in seconds from the start of the file.
        rule: The routing rule that held, "default", or "requested" where `model` named the model.
        selected_model: The model whose text it is, or the one with the most words in it.
        model_sha256: SHA-256 of that model's file.
        model_version: the version of that model, where it has one.
        plan: The plan that was used, if there was one.
        confidence: Confidence from 0 to 1, where the model has one.
        failed_models: Error codes of models that gave no answer, by model.
        phrases_used: Number of the request's phrases that each model could be biased towards.
        audio_measures: What was measured of the audio, such as `snr_db` and `bandwidth_hz`.
        channel: Number of its channel from 0, with `channel=each`.
        timings: Durations of the processing stages in milliseconds.
    """

    start: float
    end: float
    rule: str
    selected_model: str
    model_sha256: str = ""
    model_version: str | None = None
    plan: str | None = None
    confidence: float | None = None
    failed_models: dict[str, str] | None = None
    phrases_used: dict[str, int] | None = None
    audio_measures: dict[str, float] = {}
    channel: int | None = None
    timings: dict[str, float] = {}


class MadeBy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A model that made the text, or a part of it, as it was at that moment. Not in OpenAI's API.

    Attributes:
        name: Its name in the settings.
        version: Its version, where it has one.
        sha256: SHA-256 of its file, where it has one.
        arm: Where a rollout of it is under way, "candidate" or "incumbent": which of the two made
            the text.
    """

    name: str
    version: str | None = None
    sha256: str | None = None
    arm: str | None = None


class Transcription(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A response in the format "json".

    Attributes:
        text: The transcript.
        usage: How much audio was transcribed.
        models: The models that made the text: those that `pieces` of a "verbose_json" response
            names, each once. Not in OpenAI's API.
        logprobs: Log probabilities of the words, with `include[]=logprobs`.
        phrases_used: Number of the request's phrases that each model could be biased towards; where
            the file was split, the smallest number of any piece. Not in OpenAI's API.
        without_effect: Why a parameter of the request has no effect, or not all of it, by name. Not
            in OpenAI's API.
        suppressed: Words that a model heard where nobody speaks; they are not in the text. Not in
            OpenAI's API.
        channels: The channels one by one, with `channel=each`. Not in OpenAI's API.
    """

    text: str
    usage: Usage
    models: list[MadeBy] = []
    logprobs: list[LogProb] | None = None
    phrases_used: dict[str, int] | None = None
    without_effect: dict[str, str] | None = None
    suppressed: list[Suppressed] | None = None
    channels: list[ApiChannel] | None = None


class VerboseTranscription(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A response in the format "verbose_json".

    Attributes:
        task: Always "transcribe".
        language: The language of the request, or "unknown".
        duration: Length of the audio in seconds.
        text: The transcript.
        usage: How much audio was transcribed.
        segments: The segments, unless `timestamp_granularities[]` leaves them out.
        words: The words, if `timestamp_granularities[]` has "word".
        models: The models that made the text, each once. Not in OpenAI's API.
        pieces: How each piece of the file was transcribed. Not in OpenAI's API.
        without_effect: Why a parameter of the request has no effect, or not all of it, by name. Not
            in OpenAI's API.
        suppressed: Words that a model heard where nobody speaks; they are not in the text. Not in
            OpenAI's API.
        channels: The channels one by one, with `channel=each`. Not in OpenAI's API.
    """

    task: str
    language: str
    duration: float
    text: str
    usage: Usage
    segments: list[Segment] | None = None
    words: list[ApiWord] | None = None
    models: list[MadeBy] = []
    pieces: list[Piece]
    without_effect: dict[str, str] | None = None
    suppressed: list[Suppressed] | None = None
    channels: list[ApiChannel] | None = None


class TextDelta(msgspec.Struct, frozen=True, tag_field="type", tag="transcript.text.delta"):
    """An event of a stream: the next part of the text.

    Attributes:
        delta: The text to append.
    """

    delta: str


class TextDone(
    msgspec.Struct, frozen=True, tag_field="type", tag="transcript.text.done", omit_defaults=True
):
    """The last event of a stream: the whole text.

    Attributes:
        text: The transcript.
        usage: How much audio was transcribed.
        models: The models that made the text, each once. Not in OpenAI's API.
        logprobs: Log probabilities of the words, with `include[]=logprobs`.
        without_effect: Why a parameter of the request has no effect, or not all of it, by name. Not
            in OpenAI's API.
        suppressed: Words that a model heard where nobody speaks; they are not in the text. Not in
            OpenAI's API.
    """

    text: str
    usage: TokenUsage
    models: list[MadeBy] = []
    logprobs: list[LogProb] | None = None
    without_effect: dict[str, str] | None = None
    suppressed: list[Suppressed] | None = None


class ApiModel(msgspec.Struct, frozen=True, kw_only=True):
    """Something that `model` of a request can name.

    Attributes:
        id: The name.
        object: Always "model".
        created: Always 0.
        owned_by: Always "chorus".
        kind: "model", "plan", "rules" (for "auto"), "version" for a model under the name of the
            version that it serves, or "alias" for another name of one of these.
        models: The models that it may ask.
    """

    id: str
    object: str
    created: int
    owned_by: str
    kind: str
    models: list[str]


class ApiModels(msgspec.Struct, frozen=True, kw_only=True):
    """The list of everything that `model` of a request can name.

    Attributes:
        object: Always "list".
        data: The models, plans and rules.
    """

    object: str = "list"
    data: list[ApiModel]


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether requests can be answered, and which models are up.

    Attributes:
        ready: Whether the Router and at least one model are up.
        router: Whether the Router is up.
        models: Whether each model is up.
        missing: Models that did not load and are not required.
        worker_faults: Why stream workers beside the models do not run, by instance.
    """

    ready: bool
    router: bool
    models: dict[str, bool]
    missing: list[str] = []
    worker_faults: dict[str, str] = {}


class Liveness(msgspec.Struct, frozen=True):
    """The response of an API process that is running.

    Attributes:
        status: Always "ok".
    """

    status: str = "ok"
