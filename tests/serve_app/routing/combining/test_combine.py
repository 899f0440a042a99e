from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.calibration import ModelCalibration
from schemas.settings import Combiner
from schemas.transcript import Word
from serve_app.engines.base import Hypothesis
from serve_app.routing.combining.combine import Combined, combine
from serve_app.routing.combining.hypotheses import Candidate, candidate


def member(model: str, text: str, *sure: float, start: float = 0.0) -> Candidate:
    """A candidate whose words last a second each, the first from `start`."""
    words = [
        Word(word, start + place, start + place + 1, each)
        for place, (word, each) in enumerate(zip(text.split(), sure, strict=True))
    ]
    return candidate(model, Hypothesis(text=text, words=words))


def textual(model: str, text: str, sure: float | None = None) -> Candidate:
    """A candidate of a model without words."""
    return candidate(model, Hypothesis(text=text, confidence=sure))


def by(method: str, *members: Candidate, **options: Any) -> Combined:
    return combine(members, msgspec.convert({"method": method, **options}, Combiner))


METHODS = ("weighted", "confidence", "mbr", "rover")


@pytest.mark.parametrize("method", METHODS)
def test_a_single_member_has_its_way(method: str) -> None:
    found = by(method, member("a", "Hello, World!", 0.8, 0.6))
    assert (found.text, found.model) == ("Hello, World!", "a")
    assert found.confidence == pytest.approx(0.7)
    assert found.words == [Word("Hello,", 0.0, 1.0, 0.8), Word("World!", 1.0, 2.0, 0.6)]


@pytest.mark.parametrize("method", METHODS)
def test_members_that_all_hear_nothing_make_an_empty_text(method: str) -> None:
    found = by(method, textual("a", ""), textual("b", "", 0.9))
    assert (found.text, found.model, found.confidence) == ("", "a", 0.0)
    assert not found.words


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("power", [0.0, 1.0, 10.0, 1e6])
def test_members_without_any_confidence_can_be_combined(method: str, power: float) -> None:
    found = by(method, member("a", "x", 0.0), member("b", "x", 0.0), power=power)
    assert found.text == "x"


@pytest.mark.parametrize("method", METHODS)
def test_a_member_that_hears_nothing_does_not_hinder_the_others(method: str) -> None:
    members = textual("a", ""), member("b", "yes", 0.9), member("c", "yes", 0.8)
    found = by(method, *members, power=0, weights={"b": 2.0})
    assert (found.text, found.model) == ("yes", "b")
    assert found.words == [Word("yes", 0.0, 1.0, 0.9)]


def test_the_heaviest_member_has_the_last_word() -> None:
    members = member("a", "one", 0.9), member("b", "two", 0.2)
    found = by("weighted", *members, weights={"a": 1.0, "b": 1.5})
    assert (found.text, found.model) == ("two", "b")
    assert found.confidence == pytest.approx(0.2)
    assert found.words == [Word("two", 0.0, 1.0, 0.2)]


def test_a_member_that_is_given_no_weight_weighs_one() -> None:
    members = member("a", "one", 0.2), member("b", "two", 0.9)
    assert by("weighted", *members, weights={"b": 0.5}).model == "a"
    assert by("weighted", *members, weights={"a": 2.0}).model == "a"


def test_without_the_heaviest_member_the_next_one_has_the_last_word() -> None:
    weights = {"a": 5.0, "b": 2.0, "c": 1.0}
    assert by("weighted", member("c", "x", 0.9), member("b", "y", 0.2), weights=weights).text == "y"


def test_the_heaviest_member_that_hears_nothing_is_passed_over() -> None:
    members = member("a", "one", 0.9), member("b", "")
    assert by("weighted", *members, weights={"b": 5.0}).text == "one"


def test_of_equal_weights_the_more_confident_member_wins() -> None:
    assert by("weighted", member("a", "one", 0.2), member("b", "two", 0.9)).model == "b"


def test_the_most_confident_member_has_the_last_word() -> None:
    # means: 0.55, 0.7, 0.6
    members = member("a", "w x", 0.1, 1.0), member("b", "y", 0.7), member("c", "z", 0.6)
    found = by("confidence", *members)
    assert (found.text, found.model) == ("y", "b")
    assert found.confidence == pytest.approx(0.7)


def test_of_equally_confident_members_the_first_wins() -> None:
    assert by("confidence", member("b", "x", 0.7), member("a", "y", 0.7)).model == "b"


def test_silence_is_never_the_most_confident() -> None:
    assert by("confidence", textual("a", "", 1.0), member("b", "x", 0.1)).model == "b"


def test_calibrated_confidences_are_compared() -> None:
    modest = ModelCalibration(bias=-3.0, word=1.0, utterance=0.0, words=1)
    proud = candidate("a", Hypothesis(text="x", confidence=0.9), modest)
    found = by("confidence", proud, textual("b", "y", 0.5))
    assert (found.model, found.confidence) == ("b", 0.5)


def test_minimum_risk_takes_the_text_in_the_middle() -> None:
    # edits to the other two: of a 1 + 2, of b 1 + 1, of c 2 + 1
    members = (
        member("a", "p q r", *[0.8] * 3),
        member("b", "p q s", *[0.8] * 3),
        member("c", "p t s", *[0.8] * 3),
    )
    found = by("mbr", *members, power=1)
    assert (found.text, found.model) == ("p q s", "b")
    assert found.words == [
        Word(word, place, place + 1.0, 0.8) for place, word in enumerate(["p", "q", "s"])
    ]


def test_minimum_risk_counts_a_confident_member_for_more_by_its_power() -> None:
    members = member("a", "x", 0.6), member("b", "x", 0.6), member("c", "y", 0.9)
    assert by("mbr", *members, power=1).text == "x"  # 1.2 against 0.9
    assert by("mbr", *members, power=2).text == "y"  # 0.72 against 0.81


def test_minimum_risk_sees_no_difference_in_writing() -> None:
    members = member("a", "Yes!", 0.5), member("b", "yes", 0.6), member("c", "no", 0.9)
    assert by("mbr", *members, power=1).text == "yes"


def test_words_are_voted_on_one_by_one() -> None:
    members = (
        member("a", "the bat sat", *[0.8] * 3),
        member("b", "a cat sat", *[0.8] * 3),
        member("c", "the cat sad", *[0.8] * 3),
    )
    assert by("rover", *members, power=0).text == "the cat sat"


def test_a_vote_has_spelling_and_times_of_the_most_confident_who_say_the_word() -> None:
    members = (
        member("a", "good MORNING", 0.7, 0.7),
        member("b", "Good, Morning.", 0.9, 0.9, start=0.5),
        member("c", "good evening", 0.6, 0.6),
    )
    found = by("rover", *members)
    assert found.text == "Good, Morning."
    assert found.words == [Word("Good,", 0.5, 1.5, 0.9), Word("Morning.", 1.5, 2.5, 0.9)]


def test_a_word_is_as_confident_as_the_surest_who_says_it() -> None:
    members = member("a", "x y", 0.9, 0.2), member("b", "x y", 0.3, 0.75)
    found = by("rover", *members, power=0)
    assert found.words is not None
    assert [word.confidence for word in found.words] == [0.9, 0.75]
    assert found.confidence == pytest.approx((0.9 + 0.75) / 2)


def test_a_vote_names_the_member_with_most_of_its_words() -> None:
    members = (
        member("a", "p b", 0.9, 0.9),
        member("b", "p q r s", *[0.8] * 4),
        member("c", "a q r s", *[0.7] * 4),
    )
    found = by("rover", *members, power=0, alpha=1.0)
    assert (found.text, found.model) == ("p q r s", "b")


def test_confident_members_weigh_more_in_a_vote_by_the_power() -> None:
    members = member("a", "x", 0.5), member("b", "x", 0.5), member("c", "y", 0.9)
    assert by("rover", *members, power=0, alpha=1.0).text == "x"
    assert by("rover", *members, power=1, alpha=1.0).text == "x"
    assert by("rover", *members, power=2, alpha=1.0).text == "y"


def test_of_equal_votes_the_more_confident_member_wins() -> None:
    members = member("a", "x", 0.5), member("b", "y", 0.6)
    assert by("rover", *members, power=0, alpha=1.0).text == "y"


def test_alpha_null_and_kind_of_confidence_are_those_of_the_settings() -> None:
    members = member("a", "x", 0.4), member("b", "x", 0.5), member("c", "y", 0.6)
    how: dict[str, Any] = {"power": 0, "alpha": 0.0}
    assert by("rover", *members, vote_confidence="share", **how).text == "x"
    assert by("rover", *members, vote_confidence="mean", **how).text == "y"
    assert by("rover", *members, vote_confidence="mean", power=0, alpha=0.5).text == "x"
    lonely = member("a", "x", 0.6), textual("b", "")
    assert by("rover", *lonely, null_confidence=0.5, **how).text == "x"
    assert by("rover", *lonely, null_confidence=0.7, **how).text == ""


def test_a_vote_for_nothing_has_no_words_and_no_confidence() -> None:
    members = member("a", "uh", 0.2), textual("b", ""), textual("c", "")
    found = by("rover", *members, power=0, alpha=1.0)
    assert (found.text, found.words, found.confidence) == ("", [], 0.0)


@pytest.mark.parametrize("method", METHODS)
def test_without_times_there_are_no_words(method: str) -> None:
    found = by(method, textual("a", "one two", 0.9), textual("b", "one two", 0.8))
    assert (found.text, found.words) == ("one two", None)
    assert found.confidence == pytest.approx(0.9)


def test_a_word_without_times_in_a_vote_leaves_the_others_without() -> None:
    members = member("a", "p q", 0.8, 0.8), textual("b", "p q r", 0.7), textual("c", "q r", 0.7)
    found = by("rover", *members, power=0, alpha=1.0)
    assert (found.text, found.words) == ("p q r", None)


def test_confidences_of_words_have_four_digits() -> None:
    sure = 0.123456
    for method in METHODS:
        found = by(method, member("a", "x", sure))
        assert found.words == [Word("x", 0.0, 1.0, 0.1235)]
        assert found.confidence == pytest.approx(sure if method != "rover" else 0.1235)


def timed(model: str, *words: tuple[str, float, float]) -> Candidate:
    """A candidate whose words have these times."""
    spoken = [Word(*each, 0.9) for each in words]
    text = " ".join(each.word for each in spoken)
    return candidate(model, Hypothesis(text=text, words=spoken))


def test_words_of_a_vote_do_not_overlap() -> None:
    """The first word is only in one member's text, the second in the others'."""
    found = by(
        "rover",
        timed("a", ("one", 0.0, 1.4), ("two", 1.4, 2.0)),
        timed("b", ("won", 0.0, 0.9), ("two", 0.8, 2.0)),
        timed("c", ("one", 0.0, 1.2), ("two", 1.0, 1.9), ("three", 1.5, 2.5)),
        null_confidence=0.0,
        alpha=0.0,
    )
    assert found.words is not None
    assert found.text == "one two three"
    for before, after in pairwise(found.words):
        assert before.start <= before.end <= after.start <= after.end


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 20)), max_size=6), min_size=1)
)
def test_whatever_the_times_of_members_those_of_a_vote_are_in_order(
    times: list[list[tuple[int, int]]],
) -> None:
    members = []
    for number, spans in enumerate(times):
        words = [
            (f"w{n}", start / 10, (start + length) / 10) for n, (start, length) in enumerate(spans)
        ]
        members.append(timed(f"m{number}", *words))
    found = by("rover", *members, max_gap_s=None).words or []
    assert all(each.start <= each.end for each in found)
    assert all(one.end <= two.start for one, two in pairwise(found))
