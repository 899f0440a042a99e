"""Spelled numbers: written as digits where they are certain, else left as they were heard."""

from __future__ import annotations

from functools import cache
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.inverse_normalization import Language, digits, units
from tests.schemas.spelling import SPELLED

LANGUAGES: tuple[Language, ...] = get_args(Language)
#: A word that is no part of a number, in any language.
OTHER = "xylem"


@cache
def numbers_by_spelling(language: Language) -> dict[str, int]:
    return {SPELLED[language](number): number for number in range(1000)}


def test_every_language_is_spelled_here() -> None:
    assert set(SPELLED) == set(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_number_below_a_thousand(language: Language) -> None:
    write = digits(language)
    for spelling, number in numbers_by_spelling(language).items():
        expected = spelling if number <= 3 else str(number)
        assert write(spelling) == expected
        assert write(f"{OTHER} {spelling} {OTHER}") == f"{OTHER} {expected} {OTHER}"


@pytest.mark.parametrize("language", LANGUAGES)
@given(data=st.data())
def test_numbers_that_follow_each_other_are_never_made_into_others(
    language: Language, data: st.DataObject
) -> None:
    spoken = data.draw(st.lists(st.integers(0, 999), min_size=2, max_size=4))
    heard = " ".join(map(SPELLED[language], spoken))
    written = digits(language)(heard)
    one = numbers_by_spelling(language).get(heard)  # "twenty" and "one" are a number themselves
    right = {heard, str(one), " ".join(map(str, spoken))} if max(spoken) < 10 else {heard, str(one)}
    if written not in right:
        assert written == str(one_number(spoken))


def one_number(spoken: list[int]) -> int | None:
    """What is spelled in several words in some language: "hundert zwei", "zwei hundert"."""
    total = spoken[0]
    for each in spoken[1:]:
        if total in range(1, 10) and each == 100:
            total *= 100
        elif total == 4 and each in range(20, 40):  # "quatre vingt dix"
            total = 60 + each
        elif total and _has_room(total, each):
            total += each
        else:
            return None
    return total


def _has_room(total: int, each: int) -> bool:
    """Whether the zeros of `total` have room for `each`, or it is as in "quatre-vingts dix"."""
    french = total % 100 in (60, 80) and each in range(10, 20)
    return french or total % 10 ** len(str(each)) == 0


@pytest.mark.parametrize("language", LANGUAGES)
@given(data=st.data())
def test_numbers_with_a_word_between_are_each_written(
    language: Language, data: st.DataObject
) -> None:
    spoken = data.draw(st.lists(st.integers(4, 999), min_size=2, max_size=4))
    heard = f" {OTHER} ".join(map(SPELLED[language], spoken))
    assert digits(language)(heard) == f" {OTHER} ".join(map(str, spoken))


@pytest.mark.parametrize("language", LANGUAGES)
@given(data=st.data())
def test_a_unit_never_takes_a_part_of_what_is_not_certain(
    language: Language, data: st.DataObject
) -> None:
    first, second = data.draw(st.tuples(st.integers(4, 999), st.integers(1, 999)))
    heard = f"{SPELLED[language](first)} {SPELLED[language](second)}"
    amount = digits(language)(heard)
    written = units(language)(f"{amount} milligrams")
    assert written == (f"{amount} mg" if amount[-1].isdigit() else f"{heard} milligrams")


@pytest.mark.parametrize(
    ("language", "heard"),
    [
        ("en", "five hundred five hundred"),
        ("en", "one hundred two hundred"),
        ("en", "thirty one hundred"),
        ("en", "five thousand thirty one hundred"),
        ("en", "one hundred and two hundred"),
        ("en", "twenty twenty one"),
        ("en", "nineteen eighty four"),
        ("en", "ten thirty"),
        ("en", "two point five million"),
        ("en", "two and a half million"),
        ("en", "a hundred"),
        ("en", "point five"),
        ("en", "1 hundred"),
        ("en", "20 five"),
        ("en", "thirty second"),
        ("en", "one third"),
        ("en", "the second one"),
        ("en", "three"),
        ("de", "eine million"),
        ("de", "zwei hundert fünf hundert"),
        ("es", "cien doscientos"),
        ("fr", "cent deux cents"),
    ],
)
def test_what_is_not_certain_stays_in_words(language: Language, heard: str) -> None:
    assert digits(language)(heard) == heard


@pytest.mark.parametrize(
    ("language", "heard", "written"),
    [
        ("en", "one two three four", "1 2 3 4"),
        ("en", "zero one two", "0 1 2"),
        ("en", "Five Hundred, five hundred", "500, 500"),
        ("en", "ten to fifteen", "10 to 15"),
        ("en", "twenty-one", "21"),
        ("en", "one hundred thousand and one", "100001"),
        ("en", "thirty-one hundred", "3100"),
        ("en", "twelve hundred", "1200"),
        ("en", "three point five", "3.5"),
        ("de", "zwei millionen", "2000000"),
        ("de", "null komma fünf", "0,5"),
        ("fr", "quatre vingt dix", "90"),
        ("es", "un millón", "1000000"),
    ],
)
def test_what_is_certain_is_written(language: Language, heard: str, written: str) -> None:
    assert digits(language)(heard) == written


@pytest.mark.parametrize(
    ("heard", "written"),
    [
        ("five hundred five hundred milligrams", "five hundred five hundred milligrams"),
        ("twenty twenty one grams", "twenty twenty one grams"),
        ("a hundred grams", "a hundred grams"),
        ("two grams of three", "2 g of three"),
    ],
)
def test_a_unit_behind_words(heard: str, written: str) -> None:
    assert units("en")(digits("en")(heard)) == written
