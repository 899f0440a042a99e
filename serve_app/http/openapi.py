"""What `/docs` says beside what the routes' types say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.plugins import ScalarRenderPlugin
from litestar.openapi.spec import (
    Components,
    OpenAPIMediaType,
    OpenAPIResponse,
    Operation,
    RequestBody,
    Schema,
    SecurityScheme,
)
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType

from schemas.transcription_api import ErrorBody, Granularity, Readiness, ResponseFormat

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


def config() -> OpenAPIConfig:
    """Of the document, at `/docs` for people and `/docs/openapi.json` for programs."""
    key = SecurityScheme(type="http", scheme="bearer")
    return OpenAPIConfig(
        title="Chorus",
        version="1",
        path="/docs",
        use_handler_docstrings=True,
        render_plugins=[ScalarRenderPlugin(path="/")],
        components=Components(security_schemes={"key": key}),
        security=[{"key": []}],
    )


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
        "model": _string("A model, a plan, or `auto` for the rules; see `/v1/models`."),
        "language": _string("A language tag: a hint."),
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
_OBJECT = Schema(type=OpenAPIType.OBJECT)


@dataclass
class TranscriptionOperation(Operation):
    """Its body is a form, its answer of the format that was asked for."""

    def __post_init__(self) -> None:
        content = {"multipart/form-data": OpenAPIMediaType(schema=_FORM)}
        self.request_body = RequestBody(content=content, required=True)
        kinds = {
            "application/json": _OBJECT,
            "text/plain": _TEXT,
            "application/x-subrip": _TEXT,
            "text/vtt": _TEXT,
            "text/event-stream": _TEXT,
        }
        answer = OpenAPIResponse(
            description="The transcript.",
            content={kind: OpenAPIMediaType(schema=schema) for kind, schema in kinds.items()},
        )
        self.responses = {**(self.responses or {}), "200": answer}


@dataclass
class ManifestOperation(Operation):
    """Its body and its answer are lines of JSON."""

    def __post_init__(self) -> None:
        lines = {"application/x-ndjson": OpenAPIMediaType(schema=_TEXT)}
        self.request_body = RequestBody(content=lines, required=True)
        answer = OpenAPIResponse(description="A line for each record.", content=lines)
        self.responses = {**(self.responses or {}), "200": answer}


def not_ready() -> Mapping[int, ResponseSpec]:
    """The same body as when it is ready."""
    return {503: ResponseSpec(Readiness, generate_examples=False, description="Not ready.")}
