"""What a form of OpenAI's transcription endpoint asks for; what cannot be done is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar, get_args

from schemas.manifest import MAX_PHRASE_CHARS, MAX_PHRASES
from schemas.transcription_api import Granularity, ResponseFormat, TranscriptionRequest
from serve_app.http.errors import ApiError, invalid

#: Pattern of a language tag.
LANGUAGE = r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,3}"

_KNOWN = frozenset(
    {
        "model",
        "language",
        "prompt",
        "keywords",
        "response_format",
        "timestamp_granularities",
        "include",
        "stream",
        "temperature",
        "chunking_strategy",
    }
)
_TRUE, _FALSE = ("true", "1"), ("false", "0")
Choice = TypeVar("Choice", bound=str)


def read_parameters(
    fields: Mapping[str, Sequence[str]], targets: Sequence[str]
) -> TranscriptionRequest:
    """The request that `fields` make; names of lists may end in "[]".

    Args:
        targets: what `model` may be.

    Raises:
        ApiError: 404 for an unknown model, 422 for anything else.
    """
    values: dict[str, list[str]] = {}
    for name, given in fields.items():
        values.setdefault(name.removesuffix("[]"), []).extend(given)
    unknown = sorted(values.keys() - _KNOWN)
    if unknown:
        raise invalid(f"`{unknown[0]}` is no parameter that is supported", unknown[0])
    form = _one(values, "response_format", "json")
    response_format = _among(form, get_args(ResponseFormat), "response_format")
    request = TranscriptionRequest(
        model=_model(values, targets),
        language=_language(values),
        phrases=_phrases(values),
        response_format=response_format,
        granularities=_granularities(values, response_format),
        logprobs=_logprobs(values, response_format),
        stream=_flag(values, "stream"),
    )
    if request.stream and response_format != "json":
        raise invalid("only `json` can be streamed", "stream")
    if _one(values, "chunking_strategy", "auto") != "auto":
        raise invalid("only `auto` is supported: audio is split at silences", "chunking_strategy")
    if float(_number(values, "temperature")) != 0:
        raise invalid("only 0 is supported: decoding is greedy", "temperature")
    return request


def _one(values: Mapping[str, Sequence[str]], name: str, default: str) -> str:
    given = values.get(name, [])
    if len(given) > 1:
        raise invalid("give it once", name)
    return given[0] if given else default


def _among(value: str, choices: Sequence[Choice], name: str) -> Choice:
    for choice in choices:
        if value == choice:
            return choice
    raise invalid(f"must be one of {', '.join(choices)}", name)


def _model(values: Mapping[str, Sequence[str]], targets: Sequence[str]) -> str:
    name = _one(values, "model", "")
    if not name:
        raise invalid(f"give a model: one of {', '.join(targets)}", "model")
    if name not in targets:
        raise ApiError(
            404,
            f"no such model; there are: {', '.join(targets)}",
            param="model",
            code="model_not_found",
        )
    return name


def _language(values: Mapping[str, Sequence[str]]) -> str | None:
    language = _one(values, "language", "")
    if language and not re.fullmatch(LANGUAGE, language):
        raise invalid("must be a language tag like `en` or `en-US`", "language")
    return language or None


def _phrases(values: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Those of `keywords`, and the lines, or what commas part, of `prompt`."""
    found: dict[str, None] = {}
    given = {
        "prompt": re.split(r"[\n,;]", _one(values, "prompt", "")),
        "keywords": values.get("keywords", []),
    }
    for name, phrases in given.items():
        for phrase in filter(None, map(str.strip, phrases)):
            if len(phrase) > MAX_PHRASE_CHARS:
                reason = f"has a phrase of more than {MAX_PHRASE_CHARS} characters"
                raise invalid(f"{reason}; part phrases by commas", name)
            if any(ord(char) < 32 for char in phrase):
                raise invalid("has a control character", name)
            found[phrase] = None
        if len(found) > MAX_PHRASES:
            raise invalid(f"makes more than {MAX_PHRASES} phrases", name)
    return tuple(found)


def _granularities(
    values: Mapping[str, Sequence[str]], response_format: str
) -> frozenset[Granularity]:
    name = "timestamp_granularities"
    given = values.get(name)
    if given is None:
        return frozenset({"segment"})
    if response_format != "verbose_json":
        raise invalid("needs `response_format` to be `verbose_json`", name)
    return frozenset(_among(each, get_args(Granularity), name) for each in given)


def _logprobs(values: Mapping[str, Sequence[str]], response_format: str) -> bool:
    given = values.get("include", [])
    for each in given:
        _among(each, ["logprobs"], "include")
    if given and response_format != "json":
        raise invalid("needs `response_format` to be `json`", "include")
    return bool(given)


def _flag(values: Mapping[str, Sequence[str]], name: str) -> bool:
    return _among(_one(values, name, "false").lower(), [*_TRUE, *_FALSE], name) in _TRUE


def _number(values: Mapping[str, Sequence[str]], name: str) -> float:
    try:
        return float(_one(values, name, "0"))
    except ValueError:
        raise invalid("must be a number", name) from None
