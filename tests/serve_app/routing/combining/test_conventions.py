"""Hypotheses of models that write by different conventions are compared by what was spoken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.settings import Combiner
from schemas.transcript import Word
from serve_app.engines.base import Hypothesis
from serve_app.routing.combining.combine import combine
from serve_app.routing.combining.conventions import spoken
from serve_app.routing.combining.hypotheses import Candidate, candidate
from serve_app.scoring.wer import normalise


def said(model: str, text: str, sure: float = 0.8) -> Candidate:
    return candidate(model, Hypothesis(text=text, confidence=sure))


def timed(model: str, text: str, start: float, sure: float = 0.8) -> Candidate:
    """A candidate whose words last 0.2 s each, the first from `start`, a second after another."""
    words = [
        Word(word, start + place, start + place + 0.2, sure)
        for place, word in enumerate(text.split())
    ]
    return candidate(model, Hypothesis(text=text, words=words))


def keys(*texts: str, lang: str | None = "en") -> list[list[str]]:
    return [list(each.keys) for each in spoken([said("m", text) for text in texts], lang)]


@pytest.mark.parametrize(
    ("written", "heard"),
    [
        ("It's 8 weeks.", "it's eight weeks"),
        ("Twenty-five", "twenty five"),
        ("One hundred and twenty-five", "one hundred and twenty five"),
        ("25 mg daily", "twenty five milligrams daily"),
        ("25mg daily", "twenty five milligrams daily"),
        ("about 50%", "about fifty percent"),
        ("1,500 and more", "fifteen hundred and more"),
        ("3.5 of them", "three point five of them"),
        ("In 1984, at 9:30", "in nineteen eighty four at nine thirty"),
        ("call 555-1234", "call five five five one two three four"),
        ("on the 21st", "on the twenty first"),
        ("COVID-19!", "covid nineteen"),
        ("Follow-up, or follow up", "follow up or follow up"),
        ("- Yes ...", "yes"),
        ("the U.S. and us", "the u s and us"),
    ],
)
def test_the_same_speech_has_the_same_keys(written: str, heard: str) -> None:
    one, other = keys(written, heard)
    assert one == other == [key for word in heard.split() for key in normalise(word)]


@pytest.mark.parametrize(
    ("written", "heard"),
    [
        ("2-3 days", "twenty three days"),
        ("he is 35", "he is three point five"),
        ("9:30", "nine hundred thirty"),
        ("20 and 5", "twenty five"),
        ("all ways 5", "always five"),
        ("1 of them", "ones of them"),
        ("$5 each", "five each"),
    ],
)
def test_other_speech_has_not(written: str, heard: str) -> None:
    one, other = keys(written, heard)
    assert one != other


def test_what_nobody_writes_in_another_way_is_voted_on_word_by_word() -> None:
    texts = ("twenty five always", "twenty nine all ways")
    assert keys(*texts) == [text.split() for text in texts]


def test_number_words_are_those_of_the_language() -> None:
    assert keys("25", "fünfundzwanzig", lang="de-AT")[0] == ["fünfundzwanzig"]
    assert keys("25", "fünfundzwanzig", lang="en")[0] == ["25"]
    assert keys("5", "five", lang="fi")[0] == ["5"]
    assert keys("5", "five", lang=None)[0] == ["five"]


def test_a_word_that_differs_is_compared_as_before() -> None:
    assert keys("Follow-up at 9:30.", "fellow up at nine") == [
        ["follow up", "at", "9 30"],
        ["fellow", "up", "at", "nine"],
    ]


TOKENS = (
    "a 8 eight 25 twenty five twenty-five 9:30 nine thirty 1,500 fifteen hundred follow up "
    "follow-up mg milligrams 5% $5 3.5 ?"
)


@given(st.lists(st.lists(st.sampled_from(TOKENS.split()), max_size=7), min_size=1, max_size=4))
def test_every_word_has_keys_in_its_place(texts: list[list[str]]) -> None:
    members = [said("m", " ".join(each)) for each in texts]
    for one, each in zip(members, spoken(members), strict=True):
        assert sorted(set(each.places)) == list(range(len(one.words)))
        assert list(each.places) == sorted(each.places)
        assert len(each.keys) == len(each.places)


def test_a_number_in_digits_has_the_votes_of_those_who_spell_it() -> None:
    members = (
        said("whisper", "Return in 25 weeks.", 0.7),
        said("a", "return in twenty five weeks", 0.8),
        said("b", "return in twenty nine weeks", 0.8),
    )
    found = combine(members, Combiner(power=0))
    assert found.text == "return in twenty five weeks"
    assert combine(members, Combiner(power=0), spelling=["whisper"]).text == "Return in 25 weeks."


def test_a_word_for_several_is_written_only_where_all_of_them_win() -> None:
    members = (
        said("whisper", "In 25 weeks.", 0.7),
        said("a", "in twenty five weeks", 0.8),
        said("b", "in twenty nine weeks", 0.8),
        said("c", "in twenty nine weeks", 0.8),
        said("d", "in twenty nine weeks", 0.8),
    )
    found = combine(members, Combiner(power=0), spelling=["whisper"])
    assert found.text == "In twenty nine weeks."


def test_votes_of_some_words_of_a_number_are_not_lost() -> None:
    """Long numbers are often heard right by few models as a whole, and by most word by word."""
    members = (
        said("whisper", "Call 7276", 0.8),
        said("a", "call seven two seven six", 0.8),
        said("b", "call heaven two seven six", 0.8),
        said("c", "call seven two seven sick", 0.8),
        said("d", "call heaven two seven sick", 0.8),
    )
    assert combine(members, Combiner(power=0)).text == "Call 7276"
    assert combine(members[1:], Combiner(power=0, alpha=1.0)).text == "call seven two seven six"


def test_no_number_is_written_that_no_member_wrote() -> None:
    members = said("w", "It's 8.", 0.3), said("a", "its nine", 0.9), said("b", "its nine", 0.9)
    assert combine(members, Combiner(), spelling=["w"]).text == "its nine"


def test_spelling_is_of_the_first_named_who_says_the_word() -> None:
    members = said("a", "dr smith", 0.9), said("b", "Dr Smyth", 0.5), said("c", "DR. SMITH", 0.4)
    vote = Combiner(power=0)
    assert combine(members, vote).text == "dr smith"
    assert combine(members, vote, spelling=["b", "c"]).text == "Dr SMITH"
    assert combine(members, vote, spelling=["c", "b"]).text == "DR. SMITH"


def test_least_risk_sees_no_difference_between_digits_and_words() -> None:
    members = said("a", "25 mg", 0.5), said("b", "twenty five mg", 0.6), said("c", "no", 0.9)
    assert combine(members, Combiner(method="mbr", power=1)).text == "twenty five mg"


def test_words_of_a_member_without_times_have_those_of_another() -> None:
    members = said("w", "In 25 weeks.", 0.9), timed("a", "in twenty five weeks", 1.0, 0.8)
    found = combine(members, Combiner(power=0))
    assert found.words == [
        Word("In", 1.0, 1.2, 0.9),
        Word("25", 2.0, 3.2, 0.9),
        Word("weeks.", 4.0, 4.2, 0.9),
    ]
    members = said("a", "in twenty five", 0.9), timed("w", "in 25", 1.0, 0.8)
    found = combine(members, Combiner(power=0))
    assert found.words is not None
    assert [(word.word, word.start, word.end) for word in found.words] == [
        ("in", 1.0, 1.2),
        ("twenty", 2.0, 2.1),
        ("five", 2.1, 2.2),
    ]


def test_a_member_without_times_does_not_take_those_of_others_from_the_alignment() -> None:
    """`b` says the second "a" of two, as only the times tell."""
    members = (
        timed("a", "x", 0.0, 0.9),
        timed("b", "x", 5.0, 0.8),
        said("w", "X", 0.7),
    )
    found = combine(members, Combiner(max_gap_s=0.2, power=0, alpha=1.0))
    assert found.text == "x"
    assert combine(members[:2], Combiner(max_gap_s=0.2, power=0, alpha=0.0)).text == "x x"
    assert combine(members, Combiner(max_gap_s=0.2, power=0, alpha=0.0)).text == "x x"


def test_a_word_with_a_space_in_it_does_not_move_the_numbers_behind_it() -> None:
    words = [Word(each, 0.0, 0.5) for each in ("a\u00a0b", "twenty", "five")]
    spelled = candidate("a", Hypothesis(text="a b twenty five", words=words))
    assert [each.keys for each in spoken([spelled, said("b", "25")])] == [
        ("a b", "twenty", "five"),
        ("twenty", "five"),
    ]
