"""Plans of one model, ensembles and fallbacks."""

from __future__ import annotations

import msgspec
import pytest

from schemas.settings import Combiner
from schemas.transcript import Word
from serve_app.engines.base import Hypothesis
from serve_app.routing.calibration import calibrated
from serve_app.routing.plans import Decision, Failure, Planner, Query
from tests.serve_app.routing.plan_runs import (
    ALL,
    GONE,
    LATE,
    LEARNED,
    THREE,
    calibration_of,
    decide,
    failure,
    heard,
    run,
    settings_of,
)


def test_a_model_is_a_plan_of_asking_it() -> None:
    answer = heard("Hello, World!", 0.8, 0.6)
    found, queries = decide("a", {"a": answer})
    assert queries == [Query(("a",))]
    assert found == Decision("Hello, World!", "a", answer.confidence, answer.words)


def test_a_model_without_words_and_confidence_brings_none() -> None:
    found, _ = decide("a", {"a": Hypothesis(text="hello")})
    assert found == Decision("hello", "a", None, None)


def test_a_model_that_fails_is_a_failure() -> None:
    found, _ = run("a", {"a": LATE})
    assert found == failure("a", LATE)


def test_a_plan_of_one_model_bears_its_name() -> None:
    found, queries = decide("one", {"b": heard("hi", 0.9)}, {"one": {"model": "b"}})
    assert queries == [Query(("b",))]
    assert (found.text, found.model, dict(found.keys)) == ("hi", "b", {"plan": "one"})


def test_without_a_fallback_a_failure_is_the_last_word() -> None:
    found, queries = run("one", {"b": GONE}, {"one": {"model": "b"}})
    assert found == failure("b", GONE)
    assert queries == [Query(("b",))]


def test_confidences_of_one_model_are_calibrated() -> None:
    answer = heard("good day", 0.9, 0.6)
    found, _ = decide("a", {"a": answer}, calibration=calibration_of("a"))
    sure = calibrated([0.9, 0.6], LEARNED)
    assert found.confidence == pytest.approx(sum(sure) / 2, abs=5e-5)
    assert found.words == [
        Word("good", 0.0, 1.0, round(sure[0], 4)),
        Word("day", 1.0, 2.0, round(sure[1], 4)),
    ]
    assert found.confidence != answer.confidence


def test_a_calibration_of_another_model_changes_nothing() -> None:
    answer = heard("good day", 0.9, 0.6)
    found, _ = decide("a", {"a": answer}, calibration=calibration_of("b"))
    assert (found.confidence, found.words) == (answer.confidence, answer.words)


def test_calibration_takes_no_word_away() -> None:
    answer = heard("good -- day", 0.9, 0.5, 0.6)
    found, _ = decide("a", {"a": answer}, calibration=calibration_of("a"))
    assert found.words is not None
    assert [word.word for word in found.words] == ["good", "--", "day"]


@pytest.mark.parametrize("words", [None, [Word("hello", 0.0, 1.0)]])
def test_a_calibrated_model_without_confidence_is_not_called_sure(
    words: list[Word] | None,
) -> None:
    answer = Hypothesis(text="hello", words=words)
    found, _ = decide("a", {"a": answer}, calibration=calibration_of("a"))
    assert (found.confidence, found.words) == (None, words)


def test_calibrated_silence_keeps_what_the_model_says_of_it() -> None:
    answer = Hypothesis(text="", confidence=0.7, words=[])
    found, _ = decide("a", {"a": answer}, calibration=calibration_of("a"))
    assert (found.text, found.confidence, found.words) == ("", 0.7, [])


def test_an_ensemble_is_asked_at_once_and_combined() -> None:
    found, queries = decide("three", ALL, THREE)
    assert queries == [Query(("a", "b", "c"), patience_s=1.5)]
    assert (found.text, found.model, found.confidence) == ("the cat", "b", 0.9)
    assert found.words == [Word("the", 0.0, 1.0, 0.8), Word("cat", 1.0, 2.0, 1.0)]
    assert found.texts == {"a": "the bat", "b": "the cat", "c": "a cat"}
    assert found.failed == {}
    assert found.keys == {
        "plan": "three",
        "ensemble_pred_text": "the cat",
        "ensemble_model_count": 3,
    }


def test_an_ensemble_goes_on_without_the_member_that_fails() -> None:
    found, _ = decide("three", {**ALL, "a": LATE}, THREE)
    assert found.failed == {"a": "model_timeout"}
    assert found.texts == {"b": "the cat", "c": "a cat"}
    assert found.keys["ensemble_model_count"] == 2
    assert found.text == "a cat"  # of equal votes the more confident one's


def test_one_member_is_ensemble_enough() -> None:
    found, _ = decide("three", {"a": LATE, "b": ALL["b"], "c": GONE}, THREE)
    assert (found.text, found.model, found.confidence) == ("the cat", "b", 0.75)
    assert found.failed == {"a": "model_timeout", "c": "model_unavailable"}
    assert found.keys["ensemble_model_count"] == 1


def test_an_ensemble_that_fails_as_a_whole_is_a_failure() -> None:
    found, queries = run("three", {"a": LATE, "b": GONE, "c": GONE}, THREE)
    assert isinstance(found, Failure)
    assert (found.model, found.code) == ("a", LATE)
    assert found.failed == {"a": LATE, "b": GONE, "c": GONE}
    assert len(queries) == 1


def test_members_confidences_are_calibrated_before_they_count() -> None:
    plans = {"two": {"ensemble": ["a", "b"], "combine": {"method": "confidence"}}}
    answers = {"a": heard("x", 0.9), "b": heard("y", 0.8)}
    assert decide("two", answers, plans)[0].model == "a"
    found, _ = decide("two", answers, plans, calibration=calibration_of("a"))
    assert (found.model, found.confidence) == ("b", 0.8)


def test_an_ensemble_is_combined_as_the_calibration_recommends_unless_it_is_told_how() -> None:
    answers = {"a": heard("x", 0.6), "b": heard("x", 0.6), "c": heard("y", 0.9)}
    recommended = msgspec.structs.replace(calibration_of(), combiner=Combiner(alpha=1.0, power=0.0))
    free = {"three": {"ensemble": ["a", "b", "c"]}}
    assert decide("three", answers, free)[0].text == "y"
    assert decide("three", answers, free, calibration=recommended)[0].text == "x"
    told = {"three": {**free["three"], "combine": {"method": "confidence"}}}
    assert decide("three", answers, told, calibration=recommended)[0].text == "y"


def test_with_a_fallback_an_ensemble_must_answer_in_time() -> None:
    plans = {"three": {**THREE["three"], "fallback": ["d"], "fallback_after_s": 7.0}}
    _, queries = decide("three", ALL, plans)
    assert queries == [Query(("a", "b", "c"), patience_s=1.5, timeout_s=7.0)]


CHAIN = {"chain": {"model": "a", "fallback": ["b", "c"], "fallback_after_s": 3.0}}


def test_a_fallback_is_not_asked_where_it_is_not_needed() -> None:
    found, queries = decide("chain", {"a": heard("hi", 0.9)}, CHAIN)
    assert queries == [Query(("a",), timeout_s=3.0)]
    assert (found.failed, found.keys) == ({}, {"plan": "chain"})


def test_fallbacks_are_asked_one_after_the_other() -> None:
    found, queries = decide("chain", {"a": LATE, "b": GONE, "c": heard("hi", 0.9)}, CHAIN)
    assert queries == [Query((model,), timeout_s=3.0) for model in "abc"]
    assert (found.text, found.model) == ("hi", "c")
    assert found.failed == {"a": "model_timeout", "b": "model_unavailable"}
    assert found.keys == {"plan": "chain", "fallback_from": "chain"}


def test_the_first_fallback_that_answers_is_the_last_to_be_asked() -> None:
    found, queries = decide("chain", {"a": LATE, "b": heard("hi", 0.9)}, CHAIN)
    assert [query.models for query in queries] == [("a",), ("b",)]
    assert found.model == "b"


def test_where_all_fallbacks_fail_the_first_failure_is_told() -> None:
    found, queries = run("chain", {"a": LATE, "b": GONE, "c": GONE}, CHAIN)
    assert found == failure("a", LATE)
    assert len(queries) == 3


def test_an_ensemble_falls_back_too() -> None:
    plans = {"two": {"ensemble": ["a", "b"], "fallback": ["c"]}}
    found, _ = decide("two", {"a": LATE, "b": GONE, "c": heard("hi", 0.9)}, plans)
    assert (found.text, found.model) == ("hi", "c")
    assert found.keys == {"plan": "two", "fallback_from": "two"}
    assert found.failed == {"a": "model_timeout", "b": "model_unavailable"}


def test_words_are_needed_of_members_screenings_and_calibrated_models() -> None:
    plans = {
        "two": {"ensemble": ["a", "b"]},
        "tiers": {"tiers": {"screen": "c", "high_quality": "d"}},
        "one": {"model": "d", "fallback": ["d"]},
    }
    assert Planner(settings_of(plans)).needs_words == {"a", "b", "c"}
    assert Planner(settings_of(plans), calibration_of("d")).needs_words == {"a", "b", "c", "d"}
    assert Planner(settings_of({})).needs_words == frozenset()
