"""The parameters of a transcription request: their description, and how they are read.

A parameter that would change the text and cannot be honoured is refused; one that has no effect is
accepted and named in the answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar, cast, get_args

from litestar.openapi.spec import Schema
from litestar.openapi.spec.enums import OpenAPIType

from schemas.channels import CHANNELS, EACH, MAX_CHANNEL, MEAN, Channel, channel_of
from schemas.manifest import MAX_PHRASE_CHARS, MAX_PHRASES
from schemas.settings import AUTO
from schemas.transcription_request import (
    Granularity,
    ResponseFormat,
    SubtitleShape,
    TranscriptionRequest,
)
from serve_app.http.compatibility import COMPATIBLE, FALSE, TRUE, number_of
from serve_app.http.errors import ApiError, invalid, unknown_model
from serve_app.http.prompts import phrases_of

#: Pattern of a language tag.
LANGUAGE = r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,3}"
#: The language of clients that do not know it.
ANY_LANGUAGE = "auto"


def _string(description: str, choices: tuple[str, ...] | None = None) -> Schema:
    return Schema(
        type=OpenAPIType.STRING, description=description, enum=list(choices) if choices else None
    )


def _strings(description: str, choices: tuple[str, ...] | None = None) -> Schema:
    items = Schema(type=OpenAPIType.STRING, enum=list(choices) if choices else None)
    return Schema(type=OpenAPIType.ARRAY, items=items, description=description)


#: Lowest and highest values of the measures of subtitles.
_WIDTHS, _COUNTS, _SECONDS = (10, 200), (1, 10), (0, 7)
_PROMPT = (
    "Words and phrases to bias recognition towards: a list with commas, semicolons or lines "
    "between them, or text, of which the names are taken."
)
#: The OpenAPI schema of each parameter but `model`, whose values are in the settings.
PARAMETERS = {
    "language": Schema(
        type=OpenAPIType.STRING,
        description="A language tag, such as `en` or `en-US`, as a hint for the routing rules; or "
        f"`{ANY_LANGUAGE}`.",
        pattern=f"^({LANGUAGE}|{ANY_LANGUAGE})?$",
    ),
    "prompt": _string(_PROMPT),
    "hotwords": _string(f"{_PROMPT} The same as `prompt`."),
    "keywords[]": _strings("Words and phrases to bias recognition towards."),
    "channel": Schema(
        type=OpenAPIType.STRING,
        description="Which channel of the file: its number, from 0; `mean` for all mixed; or "
        "`each` for every one by itself, as a speaker of its own. `stream` needs one.",
        pattern=r"^(\d{1,3}|mean|average|each)?$",
    ),
    "response_format": _string("Format of the response.", get_args(ResponseFormat)),
    "timestamp_granularities[]": _strings(
        "Which time stamps to return; `word` is for `verbose_json`.", get_args(Granularity)
    ),
    "include[]": _strings("What else to return; for `json`.", ("logprobs",)),
    "stream": Schema(
        type=OpenAPIType.BOOLEAN,
        description="Whether to answer with server-sent events; for `json`.",
    ),
    "max_line_width": Schema(
        type=OpenAPIType.INTEGER,
        minimum=_WIDTHS[0],
        maximum=_WIDTHS[1],
        description="Most characters in a line of a subtitle, 42 by default; also for segments.",
    ),
    "max_line_count": Schema(
        type=OpenAPIType.INTEGER,
        minimum=_COUNTS[0],
        maximum=_COUNTS[1],
        description="Most lines of a subtitle, 2 by default; also for segments.",
    ),
    "min_cue_seconds": Schema(
        type=OpenAPIType.NUMBER,
        minimum=_SECONDS[0],
        maximum=_SECONDS[1],
        description="Seconds for which a subtitle is shown at least, 1 by default, where the next "
        "one allows it.",
    ),
    "chunking_strategy": _string("Only `auto`: long audio is split at silences.", ("auto",)),
    **{name: each.schema for name, each in COMPATIBLE.items()},
}
_KNOWN = frozenset({"model", *(name.removesuffix("[]") for name in PARAMETERS)})
_PROMPTS = ("prompt", "hotwords")
#: Control characters that are not white space.
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
#: What the name of a list ends in, as clients write forms.
_INDEX = re.compile(r"\[\d{0,3}\]$")
_ONLY_AUTO = "`chunking_strategy` must be `auto`: audio is split at silences"
Choice = TypeVar("Choice", bound=str)
Values = Mapping[str, Sequence[str]]


def read_parameters(fields: Values, models: Sequence[str]) -> TranscriptionRequest:
    """Read the parameters of a request from the fields of its form.

    Args:
        fields: the values of each field; the name of a list may end in "[]", or an index in
            brackets. An empty value is none.
        models: the values that `model` may have.

    Raises:
        ApiError: 404 for an unknown model, 400 for any other fault.
    """
    values: dict[str, list[str]] = {}
    for name, given in fields.items():
        values.setdefault(_INDEX.sub("", name), []).extend(filter(None, given))
    unknown = sorted(name for name, given in values.items() if given and name not in _KNOWN)
    if unknown:
        raise _unknown(unknown[0])
    without_effect: dict[str, str] = {}
    form = _one(values, "response_format", "json")
    response_format = _among(form, get_args(ResponseFormat), "response_format")
    request = TranscriptionRequest(
        model=_model(values, models),
        language=_language(values),
        phrases=_phrases(values, without_effect),
        channel=_channel(values),
        response_format=response_format,
        granularities=_granularities(values, response_format, without_effect),
        logprobs=_logprobs(values, response_format),
        stream=_among(_one(values, "stream", "false").lower(), [*TRUE, *FALSE], "stream") in TRUE,
        subtitles=_subtitles(values, response_format, without_effect),
        without_effect=without_effect,
    )
    if request.stream and response_format != "json":
        raise invalid("`stream` needs `response_format` to be `json`", "stream")
    if request.stream:
        check_streamed(request.channel)
    if _one(values, "chunking_strategy", "auto") != "auto":
        raise invalid(_ONLY_AUTO, "chunking_strategy")
    _check_compatible(values, without_effect)
    return request


def _unknown(name: str) -> ApiError:
    of_object, bracket, _ = name.partition("[")
    if not bracket or of_object not in _KNOWN:
        supported = ", ".join(["model", *PARAMETERS])
        reason = f"the parameter `{name}` is not supported; supported are: {supported}"
        return invalid(reason, name)
    if of_object == "chunking_strategy":  # of OpenAI's clients: `chunking_strategy[type]`
        return invalid(_ONLY_AUTO, of_object)
    return invalid(f"`{of_object}` is no object, so it has no key as in `{name}`", of_object)


def _check_compatible(values: Values, without_effect: dict[str, str]) -> None:
    for name, field in COMPATIBLE.items():
        value = _one(values, name, "")
        if not value:
            continue
        if not field.accepts(value):
            raise invalid(f"`{name}` must be {field.values}", name)
        if not field.is_default(value):
            without_effect[name] = field.reason


def _one(values: Values, name: str, default: str) -> str:
    given = values.get(name, [])
    if len(given) > 1:
        raise invalid(f"`{name}` is given more than once", name)
    return given[0] if given else default


def _among(value: str, choices: Sequence[Choice], name: str) -> Choice:
    for choice in choices:
        if value == choice:
            return choice
    raise invalid(f"`{name}` must be one of: {', '.join(choices)}", name)


def _model(values: Values, models: Sequence[str]) -> str:
    name = _one(values, "model", AUTO)
    if name not in models:
        raise unknown_model(name, models, f"available are: {', '.join(models)}")
    return name


def _language(values: Values) -> str | None:
    language = _one(values, "language", ANY_LANGUAGE)
    if language == ANY_LANGUAGE:
        return None
    if not re.fullmatch(LANGUAGE, language):
        reason = f"`language` must be a language tag such as `en` or `en-US`, or `{ANY_LANGUAGE}`"
        raise invalid(reason, "language")
    return language


def _channel(values: Values) -> Channel | None:
    given = channel_of(_one(values, "channel", "") or None)
    if given is None or given in (MEAN, EACH) or (isinstance(given, int) and given <= MAX_CHANNEL):
        return cast(Channel | None, given)
    raise invalid(f"`channel` must be {CHANNELS}", "channel")


def check_streamed(channel: Channel | None) -> None:
    """Refuse to stream several channels.

    Raises:
        ApiError: 400.
    """
    if channel == EACH:
        reason = "who speaks when is known only at the end; name one channel, or `mean`"
        raise invalid(f"`stream` cannot be with `channel` as `each`: {reason}", "channel")


def _phrases(values: Values, without_effect: dict[str, str]) -> tuple[str, ...]:
    """The distinct phrases of the prompts and of `keywords`."""
    keywords = _keywords(values)
    found: dict[str, None] = {}
    for name in _PROMPTS:
        prompt = _one(values, name, "")
        if _CONTROL.search(prompt):
            raise invalid(f"`{name}` has a control character", name)
        phrases, complete = phrases_of(prompt)
        if not complete:
            without_effect[name] = (
                "only phrases can be listened for: the items of its lists and the names in its "
                "sentences are, the rest is left"
            )
        for phrase in phrases:
            if phrase not in found and len({**found, **keywords}) >= MAX_PHRASES:
                reason = f"{MAX_PHRASES} phrases are listened for, the others are left"
                without_effect[name] = reason
                break
            found[phrase] = None
    return tuple({**found, **keywords})


def _keywords(values: Values) -> dict[str, None]:
    keywords = dict.fromkeys(filter(None, map(str.strip, values.get("keywords", []))))
    for phrase in keywords:
        if len(phrase) > MAX_PHRASE_CHARS:
            reason = f"`keywords` has a phrase of more than {MAX_PHRASE_CHARS} characters"
            raise invalid(f"{reason}; give each as a value of its own", "keywords")
        if any(ord(char) < 32 for char in phrase):
            raise invalid("`keywords` has a control character", "keywords")
    if len(keywords) > MAX_PHRASES:
        raise invalid(f"`keywords` has more than {MAX_PHRASES} phrases", "keywords")
    return keywords


def _granularities(
    values: Values, response_format: str, without_effect: dict[str, str]
) -> frozenset[Granularity]:
    name = "timestamp_granularities"
    choices = frozenset(_among(each, get_args(Granularity), name) for each in values.get(name, []))
    if not choices:
        return frozenset({"segment"})
    if response_format != "verbose_json":
        if "word" in choices:
            reason = f"`word` in `{name}` needs `response_format` to be `verbose_json`"
            raise invalid(reason, name)
        if response_format in ("json", "text"):
            without_effect[name] = f"a response in {response_format} has no time stamps"
    return choices


def _subtitles(
    values: Values, response_format: str, without_effect: dict[str, str]
) -> SubtitleShape:
    shape = SubtitleShape(
        line_width=round(_measure(values, "max_line_width", _WIDTHS, 42)),
        line_count=round(_measure(values, "max_line_count", _COUNTS, 2)),
        shortest_s=_measure(values, "min_cue_seconds", _SECONDS, 1),
    )
    places = {"max_line_width": "verbose_json", "max_line_count": "verbose_json"}
    for name in (*places, "min_cue_seconds"):
        if values.get(name) and response_format not in ("srt", "vtt", places.get(name)):
            without_effect[name] = f"a response in {response_format} has no subtitles"
    return shape


def _measure(values: Values, name: str, limits: tuple[int, int], default: float) -> float:
    given = _one(values, name, str(default))
    low, high = limits
    found = number_of(given)
    if not low <= found <= high or (limits != _SECONDS and not found.is_integer()):
        kind = "a number" if limits == _SECONDS else "a whole number"
        raise invalid(f"`{name}` must be {kind} from {low} to {high}", name)
    return found


def _logprobs(values: Values, response_format: str) -> bool:
    given = values.get("include", [])
    for each in given:
        _among(each, ["logprobs"], "include")
    if given and response_format != "json":
        raise invalid("`include` needs `response_format` to be `json`", "include")
    return bool(given)
