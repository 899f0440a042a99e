"""Check what an engine returns, and turn its numbers into plain ones.

An engine may be anybody's code, and Python does not check its types. What is wrong here would
otherwise fail far away: in a vote, in the Router, or when a transcript is encoded.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import SupportsFloat, SupportsIndex

from schemas.failures import ErrorCode
from schemas.transcript import Word
from serve_app.engines.base import Engine, Hypothesis, Language, Rejection

#: How far a value may be outside its range by rounding; it is then moved to the limit. The
#: precision of a float16 at 1.
_ROUNDING = 2**-10


class ResultError(Exception):
    """An engine returned something else than its protocol says; the message tells what."""


def engine_name(engine: Engine) -> str:
    """Name an engine as the settings do: "nemo", "faster-whisper" or ``package.module:Class``."""
    kind = type(engine)
    if kind.__module__.startswith("serve_app.engines."):  # built in
        return kind.__module__.split(".")[2].replace("_", "-")
    return f"{kind.__module__}:{kind.__qualname__}"


def checked_results(results: object, count: int) -> list[Hypothesis | Rejection]:
    """The results of an engine as its protocol has them.

    Numbers of other libraries, such as NumPy's, become Python's; a confidence that rounding has put
    just outside 0 to 1 is moved to the limit.

    Args:
        results: what `transcribe` of the engine returned.
        count: number of clips.

    Raises:
        ResultError: there is not one result for each clip, or a value of one is wrong.
    """
    return [_checked(each) for each in _listed(results, count)]


def _listed(results: object, count: int) -> Sequence[object]:
    if isinstance(results, str) or not isinstance(results, Sequence):
        raise ResultError(f"it gave {_kind(results)} for {count} clips, not a list")
    if len(results) != count:
        raise ResultError(f"it gave {len(results)} results for {count} clips")
    return results


def checked_languages(results: object, count: int) -> list[Language | None]:
    """The languages that an engine identified, with Python's own numbers.

    Args:
        results: what `identify_languages` of the engine returned.
        count: number of clips.

    Raises:
        ResultError: there is not one for each clip, or one is no pair of a code and a probability.
    """
    return [_language(each) for each in _listed(results, count)]


def _language(result: object) -> Language | None:
    if result is None:
        return None
    if not isinstance(result, tuple) or len(result) != 2:
        raise ResultError(f"it gave {_kind(result)} for a clip, not a (code, probability) or None")
    code, probability = result
    if not _text(code, "code"):
        raise ResultError("the code of a language is empty")
    return Language(str(code), _ranged(probability, "probability", 1.0))


def _checked(result: object) -> Hypothesis | Rejection:
    if isinstance(result, Hypothesis):
        return Hypothesis(
            text=_text(result.text, "text"),
            confidence=_confidence(result.confidence, "confidence"),
            words=None if result.words is None else _words(result.words),
            phrases=None if result.phrases is None else _count(result.phrases, "phrases"),
        )
    if isinstance(result, Rejection):
        if not isinstance(result.code, ErrorCode):
            raise ResultError("`code` is no error code of `schemas.failures.ErrorCode`")
        return Rejection(code=result.code, message=_text(result.message, "message"))
    raise ResultError(f"it gave {_kind(result)} for a clip, neither a Hypothesis nor a Rejection")


def _words(words: object) -> list[Word]:
    if isinstance(words, str) or not isinstance(words, Sequence):
        raise ResultError(f"`words` is {_kind(words)}, not a list")
    return [_word(word, f"words[{index}]") for index, word in enumerate(words)]


def _word(word: object, name: str) -> Word:
    if not isinstance(word, Word):
        raise ResultError(f"`{name}` is {_kind(word)}, not a Word")
    start = _ranged(word.start, f"{name}.start", math.inf)
    end = _ranged(word.end, f"{name}.end", math.inf)
    if end < start - _ROUNDING:
        raise ResultError(f"`{name}` ends before it starts")
    return Word(
        _text(word.word, f"{name}.word"),
        start,
        max(start, end),
        _confidence(word.confidence, f"{name}.confidence"),
    )


def _confidence(value: object, name: str) -> float | None:
    return None if value is None else _ranged(value, name, 1.0)


def _ranged(value: object, name: str, most: float) -> float:
    """`value` as a float from 0 to `most`, and finite."""
    if isinstance(value, str | bool) or not isinstance(value, SupportsFloat):
        raise ResultError(f"`{name}` is {_kind(value)}, not a number")
    number = float(value)
    if not (math.isfinite(number) and -_ROUNDING <= number <= most + _ROUNDING):
        wanted = "0 to 1" if most == 1 else "a time in seconds"
        raise ResultError(f"`{name}` is {number}, not {wanted}")
    return min(max(number, 0.0), most)


def _count(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise ResultError(f"`{name}` is {_kind(value)}, not a whole number")
    return operator.index(value)


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise ResultError(f"`{name}` is {_kind(value)}, not a text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ResultError(f"`{name}` is no valid Unicode: it has a lone surrogate") from None
    return str(value)


def _kind(value: object) -> str:
    return type(value).__name__


def not_finite() -> Rejection:
    """What becomes of a clip for which a model's output has NaN or infinity."""
    message = "the model's output for this clip is not finite"
    return Rejection(code=ErrorCode.MODEL_REJECTED, message=message)
