"""What `/docs` says beside what the routes' types say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.plugins import ScalarRenderPlugin
from litestar.openapi.spec import (
    Components,
    OpenAPI,
    OpenAPIMediaType,
    OpenAPIResponse,
    Operation,
    Reference,
    RequestBody,
    Schema,
    SecurityScheme,
)
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType

from schemas.transcription_api import (
    ErrorBody,
    Granularity,
    Readiness,
    ResponseFormat,
    Transcription,
    VerboseTranscription,
)
from serve_app.http.parameters import LANGUAGE

_WHY = {
    401: "No API key, or one that is not known.",
    404: "No such model.",
    408: "The body did not arrive in time.",
    413: "The body or the audio is too large.",
    415: "Not a format that can be read.",
    422: "A parameter or the audio is not right.",
    429: "Too much at once, or in a minute; `Retry-After` says when to try again.",
    500: "A fault of the service.",
    503: "Not up, or too busy; `Retry-After` says when to try again.",
}


_MODEL = "Model"
#: Of what asks for no key; Litestar leaves out an empty list.
NO_KEY: list[dict[str, list[str]]] = [{}]


def config(*, needs_key: bool) -> OpenAPIConfig:
    """Of the document, at `/docs` for people and `/docs/openapi.json` for programs."""
    key = SecurityScheme(type="http", scheme="bearer")
    return OpenAPIConfig(
        title="Chorus",
        version="1",
        path="/docs",
        use_handler_docstrings=True,
        render_plugins=[ScalarRenderPlugin(path="/")],
        components=Components(security_schemes={"key": key}),
        security=[{"key": []}] if needs_key else None,
    )


def add_models(document: OpenAPI, names: Sequence[str]) -> None:
    """Say in `document` what `model` of a transcription may be: the settings' own names."""
    choices = _string("`auto` for the rules, a plan, or a model.", tuple(names))
    document.components.schemas = {**(document.components.schemas or {}), _MODEL: choices}


def failures(*statuses: int) -> Mapping[int, ResponseSpec]:
    """These statuses, with the body that they have."""
    return {
        each: ResponseSpec(ErrorBody, generate_examples=False, description=_WHY[each])
        for each in statuses
    }


def _string(description: str, choices: tuple[str, ...] | None = None) -> Schema:
    return Schema(
        type=OpenAPIType.STRING, description=description, enum=list(choices) if choices else None
    )


def _strings(description: str, choices: tuple[str, ...] | None = None) -> Schema:
    items = Schema(type=OpenAPIType.STRING, enum=list(choices) if choices else None)
    return Schema(type=OpenAPIType.ARRAY, items=items, description=description)


_FORM = Schema(
    type=OpenAPIType.OBJECT,
    required=["file", "model"],
    properties={
        "file": Schema(
            type=OpenAPIType.STRING,
            format=OpenAPIFormat.BINARY,
            description="WAV, FLAC, MP3, Ogg, M4A, MP4 or WebM.",
        ),
        "model": Reference(ref=f"#/components/schemas/{_MODEL}"),
        "language": Schema(
            type=OpenAPIType.STRING,
            description="A language tag: a hint.",
            pattern=f"^({LANGUAGE})?$",
        ),
        "prompt": _string("Words and phrases to listen for, parted by commas or lines."),
        "keywords[]": _strings("Words and phrases to listen for."),
        "response_format": _string("Of the answer.", get_args(ResponseFormat)),
        "timestamp_granularities[]": _strings("For `verbose_json`.", get_args(Granularity)),
        "include[]": _strings("For `json`.", ("logprobs",)),
        "stream": Schema(
            type=OpenAPIType.BOOLEAN, description="Answer with server-sent events, for `json`."
        ),
        "temperature": Schema(type=OpenAPIType.NUMBER, enum=[0], description="Only 0."),
        "chunking_strategy": _string("Only `auto`.", ("auto",)),
    },
)
_TEXT = Schema(type=OpenAPIType.STRING)
_EVENT = Schema(
    type=OpenAPIType.OBJECT,
    description="Of a stream: `data` is JSON, of `transcript.text.delta` for each piece of the "
    "text, of `transcript.text.done` at the end, or an `error`.",
    required=["data"],
    properties={"data": Schema(type=OpenAPIType.STRING, content_media_type="application/json")},
)


@dataclass
class TranscriptionOperation(Operation):
    """Its body is a form, its answer of the format that was asked for."""

    def __post_init__(self) -> None:
        content = {"multipart/form-data": OpenAPIMediaType(schema=_FORM)}
        self.request_body = RequestBody(content=content, required=True)
        answer = (self.responses or {})["200"]
        assert isinstance(answer, OpenAPIResponse)
        assert answer.content is not None
        json = answer.content["application/json"].schema
        assert isinstance(json, Schema)
        # of Litestar's "one of" neither: a verbose answer is a plain one too
        json.any_of, json.one_of = json.one_of, None
        for kind in ("text/plain", "application/x-subrip", "text/vtt"):
            answer.content[kind] = OpenAPIMediaType(schema=_TEXT)
        answer.content["text/event-stream"] = OpenAPIMediaType(schema=_EVENT)


@dataclass
class ManifestOperation(Operation):
    """Its body and its answer are lines of JSON."""

    def __post_init__(self) -> None:
        some = Schema(type=OpenAPIType.STRING, min_length=1)
        asked = {"application/x-ndjson": OpenAPIMediaType(schema=some)}
        told = {"application/x-ndjson": OpenAPIMediaType(schema=_TEXT)}
        self.request_body = RequestBody(content=asked, required=True)
        answer = OpenAPIResponse(description="A line for each record.", content=told)
        self.responses = {**(self.responses or {}), "200": answer}


@dataclass
class ModelOperation(Operation):
    """Any name is a valid one, so there is no 400 of Litestar's."""

    def __post_init__(self) -> None:
        self.responses = {**(self.responses or {})}
        self.responses.pop("400", None)


def transcribed() -> Mapping[int, ResponseSpec]:
    """An answer in JSON, of either format."""
    content: Any = Transcription | VerboseTranscription
    spec = ResponseSpec(content, generate_examples=False, description="The transcript.")
    return {200: spec}


def not_ready() -> Mapping[int, ResponseSpec]:
    """The same body as when it is ready."""
    return {503: ResponseSpec(Readiness, generate_examples=False, description="Not ready.")}
