"""Fields of other transcription APIs that are accepted where they could not change the text.

Clients of OpenAI, vLLM and others send them, often with their defaults. One that has no effect is
named in the answer; a value that would have to change the text is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from litestar.openapi.spec import Schema
from litestar.openapi.spec.enums import OpenAPIType

TRUE, FALSE = ("true", "1"), ("false", "0")

_GREEDY = "decoding is greedy"


@dataclass(frozen=True)
class CompatibleField:
    """A field that another API has.

    Attributes:
        schema: its schema in the OpenAPI document.
        accepts: whether a value is accepted.
        values: the accepted values, in words.
        is_default: whether a value asks for what is done anyway.
        reason: why any other accepted value has no effect.
    """

    schema: Schema
    accepts: Callable[[str], bool]
    values: str
    is_default: Callable[[str], bool]
    reason: str


def number_of(value: str) -> float:
    """The number that `value` is; not a number if it is none."""
    try:
        return float(value)
    except ValueError:
        return math.nan


def _between(low: float, high: float, reason: str, default: float | None = None) -> CompatibleField:
    text = f"a number from {low:g} to {high:g}"
    return CompatibleField(
        Schema(
            type=OpenAPIType.NUMBER,
            minimum=low,
            maximum=high,
            description=f"Without effect: {reason}.",
        ),
        lambda value: low <= number_of(value) <= high,
        text,
        lambda value: number_of(value) == default,
        reason,
    )


def _integer(low: int, reason: str) -> CompatibleField:
    return CompatibleField(
        Schema(type=OpenAPIType.INTEGER, minimum=low, description=f"Without effect: {reason}."),
        lambda value: len(value) < 20 and number_of(value).is_integer() and number_of(value) >= low,
        f"a whole number, at least {low}",
        lambda value: False,
        reason,
    )


def _only(number: int, reason: str) -> CompatibleField:
    def accepts(value: str) -> bool:
        return number_of(value) == number

    return CompatibleField(
        Schema(type=OpenAPIType.NUMBER, enum=[number], description=f"Only {number}: {reason}."),
        accepts,
        f"{number}: {reason}",
        accepts,
        reason,
    )


def _word(value: str, reason: str) -> CompatibleField:
    """A field with one accepted value, which is the default."""

    def accepts(given: str) -> bool:
        return given.lower() == value

    return CompatibleField(
        Schema(type=OpenAPIType.STRING, enum=[value], description=f"Only `{value}`: {reason}."),
        accepts,
        f"`{value}`: {reason}",
        accepts,
        reason,
    )


def _boolean(reason: str, default: Sequence[str] = ()) -> CompatibleField:
    return CompatibleField(
        Schema(type=OpenAPIType.BOOLEAN, description=f"Without effect: {reason}."),
        lambda value: value.lower() in TRUE + FALSE,
        "`true` or `false`",
        lambda value: value.lower() in default,
        reason,
    )


_NO_FILTER = "the settings say what becomes of words where nobody speaks"
_NO_TRANSLATION = "there is no translation"
_NOT_KEPT = "it is not kept"
_TIMES = "`response_format` says whether there are time stamps"
_USAGE = "the last event of a stream has the usage"

#: By name of the field.
COMPATIBLE = {
    "temperature": _between(0, 1, _GREEDY, default=0),
    "top_p": _between(0, 1, _GREEDY, default=1),
    "min_p": _between(0, 1, _GREEDY, default=0),
    "top_k": _integer(-1, _GREEDY),
    "seed": _integer(-(2**63), _GREEDY),
    "n": _only(1, _GREEDY),
    "best_of": _only(1, _GREEDY),
    "beam_size": _only(1, _GREEDY),
    "frequency_penalty": _only(0, _GREEDY),
    "presence_penalty": _only(0, _GREEDY),
    "repetition_penalty": _only(1, _GREEDY),
    "length_penalty": _only(1, _GREEDY),
    "use_beam_search": _word("false", _GREEDY),
    "task": _word("transcribe", _NO_TRANSLATION),
    "translate": _word("false", _NO_TRANSLATION),
    "temperature_inc": _between(0, 1, _GREEDY, default=0),
    "vad_filter": _boolean(_NO_FILTER),
    "without_timestamps": _boolean(_TIMES),
    "no_timestamps": _boolean(_TIMES),
    "stream_include_usage": _boolean(_USAGE, TRUE),
    "stream_continuous_usage_stats": _boolean(_USAGE, FALSE),
    "user": CompatibleField(
        Schema(type=OpenAPIType.STRING, description=f"Without effect: {_NOT_KEPT}."),
        lambda value: True,
        "any text",
        lambda value: False,
        _NOT_KEPT,
    ),
}
