"""Words keep their times when text rules change how they are written."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.transcript import Word
from serve_app.routing.written_words import written_words
from tests.serve_app.http.conftest import UNHURRIED
from tests.serve_app.http.test_segments import said, spoken


def times(words: list[Word]) -> list[tuple[str, float, float]]:
    return [(each.word, each.start, each.end) for each in words]


def test_what_is_written_for_several_words_has_their_time() -> None:
    heard = said("give", "five", "milligrams", "daily", each_s=1.0)
    assert times(written_words(heard, "give 5 mg daily")) == [
        ("give", 0.0, 1.0),
        ("5", 1.0, 1.667),
        ("mg", 1.667, 3.0),
        ("daily", 3.0, 4.0),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b c", [("a", 0, 1), ("b", 1, 2), ("c", 2, 3)]),
        ("a c", [("a", 0, 1), ("c", 2, 3)]),
        ("", []),
        ("a b new c", [("a", 0, 1), ("b", 1, 2), ("new", 2, 2), ("c", 2, 3)]),
        ("new a b c", [("new", 0, 0), ("a", 0, 1), ("b", 1, 2), ("c", 2, 3)]),
        ("abc", [("abc", 0, 3)]),
    ],
)
def test_words_that_go_and_come(text: str, expected: list[tuple[str, float, float]]) -> None:
    assert times(written_words(said("a", "b", "c", each_s=1.0), text)) == expected


def test_the_least_certain_word_says_how_certain_it_is() -> None:
    heard = [Word("twenty", 0, 1, 0.9), Word("two", 1, 2, 0.4), Word("x", 2, 3)]
    assert [each.confidence for each in written_words(heard, "22 x")] == [0.4, None]


@UNHURRIED
@given(spoken(), st.lists(st.sampled_from(["a", "bb", "c"])))
def test_words_are_those_of_the_text_one_after_another(words: list[Word], text: list[str]) -> None:
    found = written_words(words, " ".join(text))
    assert [each.word for each in found] == text
    assert all(one.end <= two.start for one, two in pairwise(found))
    assert all(each.start <= each.end for each in found)
