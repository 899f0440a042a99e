"""The OpenAPI document at `/docs`: what Litestar cannot derive from the types of the routes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from litestar import Router
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.spec import (
    Components,
    OpenAPI,
    OpenAPIHeader,
    OpenAPIMediaType,
    OpenAPIResponse,
    Operation,
    Reference,
    RequestBody,
    Schema,
    SecurityScheme,
)
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType

from schemas import transcription_api
from schemas.descriptions import attributes, summary
from schemas.transcription_api import (
    ErrorBody,
    Readiness,
    Transcription,
    VerboseTranscription,
)
from serve_app.audio.header import SUPPORTED
from serve_app.http.docs_page import DocsPage
from serve_app.http.every_answer import MODEL, WITHOUT_EFFECT
from serve_app.http.parameters import PARAMETERS

_ERRORS = {
    400: "A parameter is invalid, or the audio cannot be decoded.",
    401: "The API key is missing or invalid.",
    404: "The model does not exist.",
    408: "The body did not arrive in time.",
    413: "The body or the audio is too large.",
    415: "The content type or the audio format is not supported.",
    429: "Too many requests at once, too much audio per minute, or too many wrong keys; "
    "`Retry-After` says when to try again.",
    500: "An internal error.",
    503: "Unavailable or overloaded; `Retry-After` says when to try again.",
}


_MODEL = "Model"
#: Security of an operation that needs no key; Litestar leaves out an empty list.
NO_KEY: list[dict[str, list[str]]] = [{}]


def config(router: Router, *, needs_key: bool) -> OpenAPIConfig:
    """Litestar's configuration: `/docs` for people, `/docs/openapi.json` for programs.

    Args:
        router: of the path "/docs", to which both are added.
        needs_key: whether requests need an API key.
    """
    key = SecurityScheme(type="http", scheme="bearer")
    return OpenAPIConfig(
        title="Chorus",
        version="1",
        path="/docs",
        openapi_router=router,
        use_handler_docstrings=True,
        render_plugins=[DocsPage(path="/")],
        components=Components(security_schemes={"key": key}),
        security=[{"key": []}] if needs_key else None,
    )


def complete(document: OpenAPI, models: Sequence[str]) -> None:
    """Add to `document` the values of `model`, and the descriptions of the types.

    Args:
        document: Litestar's document; it is changed.
        models: the values that `model` of a transcription request may have.
    """
    schemas = document.components.schemas or {}
    for name, schema in schemas.items():
        _describe(schema, getattr(transcription_api, name, None))
    choices = Schema(
        type=OpenAPIType.STRING,
        description="`auto` for the routing rules, a plan, a model, or an alias of one of these.",
        enum=list(models),
    )
    document.components.schemas = {**schemas, _MODEL: choices}


def _describe(schema: Schema | Reference, struct: type[msgspec.Struct] | None) -> None:
    """Copy the descriptions in the docstring of `struct` to its schema and its properties."""
    if struct is None or not isinstance(schema, Schema):
        return
    schema.description = summary(struct)
    for name, description in attributes(struct).items():
        if (found := (schema.properties or {}).get(name)) is not None:
            found.description = description


def error_responses(*statuses: int) -> Mapping[int, ResponseSpec]:
    """The error responses of an operation, by status."""
    return {
        each: ResponseSpec(ErrorBody, generate_examples=False, description=_ERRORS[each])
        for each in statuses
    }


_FORM = Schema(
    type=OpenAPIType.OBJECT,
    required=["file"],
    properties={
        "file": Schema(
            type=OpenAPIType.STRING,
            format=OpenAPIFormat.BINARY,
            description=f"The audio or video file: {SUPPORTED}.",
        ),
        "model": Reference(ref=f"#/components/schemas/{_MODEL}"),  # `auto` unless given
        **PARAMETERS,
    },
)
_TEXT = Schema(type=OpenAPIType.STRING)
_HEADERS = {
    MODEL: "The models that made the text, between commas, each with its version and the SHA-256 "
    "of its file where it has one: `medical;version=2;sha256=...`. Not of a stream, whose last "
    "event has them.",
    WITHOUT_EFFECT: "The parameters that were accepted and have no effect, or not all of it.",
}
_EVENT = Schema(
    type=OpenAPIType.OBJECT,
    description="A server-sent event. `data` is JSON: a `transcript.text.delta` for each piece of "
    "the text, `transcript.text.done` at the end, or an `error`.",
    required=["data"],
    properties={"data": Schema(type=OpenAPIType.STRING, content_media_type="application/json")},
)


@dataclass
class TranscriptionOperation(Operation):
    """An operation whose body is a form and whose response has the requested format."""

    def __post_init__(self) -> None:
        content = {"multipart/form-data": OpenAPIMediaType(schema=_FORM)}
        self.request_body = RequestBody(content=content, required=True)
        answer = (self.responses or {}).get("200")
        if not isinstance(answer, OpenAPIResponse):
            raise TypeError("Litestar describes no response for the transcription endpoint")
        formats = answer.content
        json = formats["application/json"].schema if formats else None
        if formats is None or not isinstance(json, Schema):
            raise TypeError("Litestar describes no response in JSON for the transcription endpoint")
        # not Litestar's "one of": a verbose response satisfies the plain schema too
        json.any_of, json.one_of = json.one_of, None
        for kind in ("text/plain", "application/x-subrip", "text/vtt"):
            formats[kind] = OpenAPIMediaType(schema=_TEXT)
        formats["text/event-stream"] = OpenAPIMediaType(schema=_EVENT)
        answer.headers = {
            name: OpenAPIHeader(description=description, schema=_TEXT)
            for name, description in _HEADERS.items()
        }


@dataclass
class ManifestOperation(Operation):
    """An operation whose body and response are JSON lines."""

    def __post_init__(self) -> None:
        lines = Schema(type=OpenAPIType.STRING, min_length=1)
        records = {"application/x-ndjson": OpenAPIMediaType(schema=lines)}
        results = {"application/x-ndjson": OpenAPIMediaType(schema=_TEXT)}
        self.request_body = RequestBody(content=records, required=True)
        description = "A transcript or a typed error for each record, one per line."
        answer = OpenAPIResponse(description=description, content=results)
        self.responses = {**(self.responses or {}), "200": answer}


@dataclass
class ModelOperation(Operation):
    """An operation without Litestar's status 400: every name is a valid path parameter."""

    def __post_init__(self) -> None:
        self.responses = {**(self.responses or {})}
        self.responses.pop("400", None)


def transcription_response() -> Mapping[int, ResponseSpec]:
    """The response of a transcription in either of the JSON formats."""
    content: Any = Transcription | VerboseTranscription
    spec = ResponseSpec(content, generate_examples=False, description="The transcript.")
    return {200: spec}


def not_ready_response() -> Mapping[int, ResponseSpec]:
    """The response of `/ready` while requests cannot be answered; its body is as in status 200."""
    spec = ResponseSpec(
        Readiness, generate_examples=False, description="The Router or all models are down."
    )
    return {503: spec}
