"""What an engine of one's own returns, at the border of Chorus: coerced, or refused by name."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import numpy as np
import pytest

from schemas.failures import ErrorCode
from schemas.transcript import Word
from serve_app.engines.base import Hypothesis, Language, Rejection
from serve_app.engines.results import ResultError, checked_languages, checked_results


def lawless(**fields: Any) -> Hypothesis:
    """A hypothesis with values that its types do not allow."""
    return Hypothesis(**{"text": "send it", **fields})


class Number:
    """A number of another library, such as a tensor without dimensions."""

    def __float__(self) -> float:
        return 0.25


def test_results_that_follow_the_protocol_pass_unchanged() -> None:
    results: list[Hypothesis | Rejection] = [
        Hypothesis(text="send it", confidence=0.5, words=[Word("send", 0.0, 0.4, 1.0)], phrases=2),
        Hypothesis(text=""),
        Rejection(code=ErrorCode.MODEL_REJECTED, message="no"),
    ]
    assert checked_results(results, 3) == results


def test_numbers_of_numpy_become_plain_ones() -> None:
    word = Word(
        np.str_("send"),
        cast(float, np.float32(0.5)),
        cast(float, np.float64(0.75)),
        cast(float, np.float16(1)),
    )
    given = lawless(
        text=np.str_("send"), confidence=np.float32(0.5), words=(word,), phrases=np.int64(1)
    )
    [found] = checked_results((given,), 1)
    assert found == Hypothesis(
        text="send", confidence=0.5, words=[Word("send", 0.5, 0.75, 1.0)], phrases=1
    )
    assert msgspec.json.decode(msgspec.json.encode(found), type=Hypothesis) == found


def test_a_number_of_another_library_is_taken() -> None:
    [found] = checked_results([lawless(confidence=Number())], 1)
    assert isinstance(found, Hypothesis)
    assert found.confidence == 0.25


def test_a_confidence_that_rounding_put_above_one_is_one() -> None:
    given = lawless(confidence=np.float32(1) + np.float32(1e-6))
    [found] = checked_results([given], 1)
    assert isinstance(found, Hypothesis)
    assert found.confidence == 1.0


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (None, "NoneType"),
        ("send it", "str"),
        ({"text": "send it"}, "dict"),
        (lawless(text=None), "`text` is NoneType"),
        (lawless(text=b"send it"), "`text` is bytes"),
        (lawless(text="\ud800"), "`text` is no valid Unicode"),
        (lawless(confidence=7.0), "`confidence` is 7.0, not 0 to 1"),
        (lawless(confidence=-0.1), "`confidence` is -0.1"),
        (lawless(confidence=float("nan")), "`confidence` is nan"),
        (lawless(confidence="0.5"), "`confidence` is str"),
        (lawless(confidence=True), "`confidence` is bool"),
        (lawless(phrases=1.5), "`phrases` is float"),
        (lawless(words="send it"), "`words` is str"),
        (lawless(words=["send"]), r"`words\[0\]` is str"),
        (lawless(words=[Word("a", 0, 1), Word("b", 2, 1)]), r"`words\[1\]` ends before it starts"),
        (lawless(words=[Word("a", 0, float("inf"))]), r"`words\[0\].end` is inf"),
        (lawless(words=[Word("a", -1, 0)]), r"`words\[0\].start` is -1.0"),
        (lawless(words=[Word("a", 0, 1, 7.0)]), r"`words\[0\].confidence` is 7.0"),
        (lawless(words=[Word(cast(str, None), 0, 1)]), r"`words\[0\].word` is NoneType"),
        (Rejection(code=cast(ErrorCode, "nonsense"), message=""), "`code` is no error code"),
        (Rejection(code=ErrorCode.MODEL_REJECTED, message=cast(str, 5)), "`message` is int"),
    ],
)
def test_what_is_no_result_is_refused_by_name(result: object, reason: str) -> None:
    with pytest.raises(ResultError, match=reason):
        checked_results([result], 1)


@pytest.mark.parametrize("results", [None, 5, "ab", []])
def test_anything_but_a_result_for_each_clip_is_refused(results: object) -> None:
    with pytest.raises(ResultError, match="for 2 clips"):
        checked_results(results, 2)


def test_languages_are_pairs_of_a_code_and_a_probability() -> None:
    given = [("de", np.float32(0.5)), None, Language("fr", 1.0001)]
    found = checked_languages(given, 3)
    assert found == [Language("de", 0.5), None, Language("fr", 1.0)]
    assert type(found[0][1] if found[0] else None) is float


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "it gave 0 results for 1 clips"),
        ("d", "it gave str for 1 clips"),
        (["de"], r"it gave str for a clip, not a \(code, probability\) or None"),
        ([("de",)], "it gave tuple for a clip"),
        ([("", 0.5)], "the code of a language is empty"),
        ([(7, 0.5)], "`code` is int, not a text"),
        ([("de", 50)], "`probability` is 50.0, not 0 to 1"),
        ([("de", None)], "`probability` is NoneType, not a number"),
    ],
)
def test_languages_that_are_none_are_refused_by_name(given: Any, said: str) -> None:
    with pytest.raises(ResultError, match=said):
        checked_languages(given, 1)
