"""Plans are driven here as what they are: generators that ask and are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from schemas.calibration import Calibration, ModelCalibration
from schemas.failures import ErrorCode
from schemas.manifest import ManifestRecord
from schemas.settings import Combiner, Settings
from schemas.transcript import Word
from serve_app.calibration import calibrated
from serve_app.engines.base import Hypothesis
from serve_app.plans import Answer, Ask, Decision, Failure, Planner

LEARNED = ModelCalibration(bias=-2.0, word=1.0, utterance=0.5, words=1000)


def settings_of(plans: Mapping[str, Any]) -> Settings:
    return msgspec.convert(
        {
            "models": {name: {} for name in "abcd"},
            "routing": {"default": "a"},
            "audio": {"roots": ["/"]},
            "plans": plans,
        },
        Settings,
    )


def calibration_of(*models: str) -> Calibration:
    return Calibration(
        made="2024-05-01T12:00:00+00:00",
        normaliser="chorus-1",
        utterances=1,
        models=dict.fromkeys(models, LEARNED),
        sha256=dict.fromkeys(models, ""),
        combiner=Combiner(),
    )


def heard(text: str, *sure: float) -> Hypothesis:
    """A hypothesis whose words last a second each, with these confidences."""
    words = [
        Word(word, float(place), place + 1.0, each)
        for place, (word, each) in enumerate(zip(text.split(), sure, strict=True))
    ]
    confidence = sum(sure) / len(sure) if sure else None
    return Hypothesis(text=text, confidence=confidence, words=words)


def failure(model: str, code: ErrorCode = ErrorCode.MODEL_TIMEOUT) -> Failure:
    return Failure(code, f"{model}: failed", model)


def run(
    target: str,
    answers: Mapping[str, Hypothesis | ErrorCode],
    plans: Mapping[str, Any] | None = None,
    *,
    text: str | None = None,
    calibration: Calibration | None = None,
) -> tuple[Decision | Failure, list[Ask]]:
    """What becomes of a record whose models answer so, and what was asked."""
    planner = Planner(settings_of(plans or {}), calibration)
    record = ManifestRecord(id="r", audio_filepath="r.wav", text=text)
    course = planner.course(target, record)
    asks = []
    try:
        ask = next(course)
        while True:
            asks.append(ask)
            told: dict[str, Answer] = {}
            for model in ask.models:
                answer = answers[model]
                told[model] = failure(model, answer) if isinstance(answer, ErrorCode) else answer
            ask = course.send(told)
    except StopIteration as stop:
        return stop.value, asks


def decide(*args: Any, **keys: Any) -> tuple[Decision, list[Ask]]:
    found, asks = run(*args, **keys)
    assert isinstance(found, Decision)
    return found, asks


GONE = ErrorCode.MODEL_UNAVAILABLE
LATE = ErrorCode.MODEL_TIMEOUT


def test_a_model_is_a_plan_of_asking_it() -> None:
    answer = heard("Hello, World!", 0.8, 0.6)
    found, asks = decide("a", {"a": answer})
    assert asks == [Ask(("a",))]
    assert found == Decision("Hello, World!", "a", answer.confidence, answer.words)


def test_a_model_without_words_and_confidence_brings_none() -> None:
    found, _ = decide("a", {"a": Hypothesis(text="hello")})
    assert found == Decision("hello", "a", None, None)


def test_a_model_that_fails_is_a_failure() -> None:
    found, _ = run("a", {"a": LATE})
    assert found == failure("a", LATE)


def test_a_plan_of_one_model_bears_its_name() -> None:
    found, asks = decide("one", {"b": heard("hi", 0.9)}, {"one": {"model": "b"}})
    assert asks == [Ask(("b",))]
    assert (found.text, found.model, dict(found.keys)) == ("hi", "b", {"plan": "one"})


def test_without_a_fallback_a_failure_is_the_last_word() -> None:
    found, asks = run("one", {"b": GONE}, {"one": {"model": "b"}})
    assert found == failure("b", GONE)
    assert asks == [Ask(("b",))]


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


VOTE = {"method": "rover", "alpha": 1.0, "power": 0.0}
THREE = {"three": {"ensemble": ["a", "b", "c"], "combine": VOTE, "patience_s": 1.5}}
ALL = {"a": heard("the bat", 0.8, 0.8), "b": heard("the cat", 0.8, 0.7), "c": heard("a cat", 1, 1)}


def test_an_ensemble_is_asked_at_once_and_combined() -> None:
    found, asks = decide("three", ALL, THREE)
    assert asks == [Ask(("a", "b", "c"), patience_s=1.5)]
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
    found, asks = run("three", {"a": LATE, "b": GONE, "c": GONE}, THREE)
    assert isinstance(found, Failure)
    assert (found.model, found.code) == ("a", LATE)
    assert found.failed == {"a": LATE, "b": GONE, "c": GONE}
    assert len(asks) == 1


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
    _, asks = decide("three", ALL, plans)
    assert asks == [Ask(("a", "b", "c"), patience_s=1.5, timeout_s=7.0)]


CHAIN = {"chain": {"model": "a", "fallback": ["b", "c"], "fallback_after_s": 3.0}}


def test_a_fallback_is_not_asked_where_it_is_not_needed() -> None:
    found, asks = decide("chain", {"a": heard("hi", 0.9)}, CHAIN)
    assert asks == [Ask(("a",), timeout_s=3.0)]
    assert (found.failed, found.keys) == ({}, {"plan": "chain"})


def test_fallbacks_are_asked_one_after_the_other() -> None:
    found, asks = decide("chain", {"a": LATE, "b": GONE, "c": heard("hi", 0.9)}, CHAIN)
    assert asks == [Ask((model,), timeout_s=3.0) for model in "abc"]
    assert (found.text, found.model) == ("hi", "c")
    assert found.failed == {"a": "model_timeout", "b": "model_unavailable"}
    assert found.keys == {"plan": "chain", "fallback_from": "chain"}


def test_the_first_fallback_that_answers_is_the_last_to_be_asked() -> None:
    found, asks = decide("chain", {"a": LATE, "b": heard("hi", 0.9)}, CHAIN)
    assert [ask.models for ask in asks] == [("a",), ("b",)]
    assert found.model == "b"


def test_where_all_fallbacks_fail_the_first_failure_is_told() -> None:
    found, asks = run("chain", {"a": LATE, "b": GONE, "c": GONE}, CHAIN)
    assert found == failure("a", LATE)
    assert len(asks) == 3


def test_an_ensemble_falls_back_too() -> None:
    plans = {"two": {"ensemble": ["a", "b"], "fallback": ["c"]}}
    found, _ = decide("two", {"a": LATE, "b": GONE, "c": heard("hi", 0.9)}, plans)
    assert (found.text, found.model) == ("hi", "c")
    assert found.keys == {"plan": "two", "fallback_from": "two"}
    assert found.failed == {"a": "model_timeout", "b": "model_unavailable"}


def tiers(standard: str | None = "c", high_quality: str = "b", **more: Any) -> dict[str, Any]:
    named = {"screen": "a", "high_quality": high_quality, "standard": standard}
    return {**THREE, "tiers": {"tiers": {**named, **more}}}


HEARD = {"b": heard("better", 0.9), "c": heard("plain", 0.9)}
FIVE = "one two three four five"


@pytest.mark.parametrize(
    ("screening", "wer", "tier", "final"),
    [
        ("one two three four five", 0.0, "high_quality", "better"),
        ("One, two, three!", 40.0, "high_quality", "better"),
        ("one two", 60.0, "standard", "plain"),
        ("", 100.0, "standard", "plain"),
    ],
)
def test_tiers_are_chosen_by_the_error_rate_of_the_screening(
    screening: str, wer: float, tier: str, final: str
) -> None:
    answers = {**HEARD, "a": Hypothesis(text=screening)}
    found, asks = decide("tiers", answers, tiers(), text=FIVE)
    target = "b" if tier == "high_quality" else "c"
    assert asks == [Ask(("a",)), Ask((target,))]
    assert (found.text, found.model) == (final, target)
    assert found.keys == {
        "plan": "tiers",
        "screening_pred": screening,
        "screening_wer": pytest.approx(wer),
        "final_pred": final,
        "processing_tier": tier,
    }


def test_the_worst_screening_that_is_good_enough_is_set() -> None:
    answers = {**HEARD, "a": heard("one two three four", *[1.0] * 4)}
    found, _ = decide("tiers", answers, tiers(max_screening_wer=19.0), text=FIVE)
    assert found.keys["processing_tier"] == "standard"
    found, _ = decide("tiers", answers, tiers(max_screening_wer=20.0), text=FIVE)
    assert found.keys["processing_tier"] == "high_quality"


@pytest.mark.parametrize(
    ("sure", "tier"), [(0.0, "high_quality"), (0.79, "high_quality"), (0.8, "standard")]
)
@pytest.mark.parametrize("text", [None, "", "..."])
def test_without_a_reference_a_doubtful_screening_is_done_better(
    text: str | None, sure: float, tier: str
) -> None:
    answers = {**HEARD, "a": heard("one", sure)}
    found, _ = decide("tiers", answers, tiers(min_confidence=0.8), text=text)
    assert found.keys["processing_tier"] == tier
    assert found.keys["screening_wer"] is None


def test_a_screening_without_confidence_is_doubtful() -> None:
    found, _ = decide("tiers", {**HEARD, "a": Hypothesis(text="one")}, tiers())
    assert found.keys["processing_tier"] == "high_quality"


def test_the_screenings_confidence_is_calibrated() -> None:
    answers = {**HEARD, "a": heard("one", 0.85)}
    plans = tiers(min_confidence=0.8)
    assert decide("tiers", answers, plans)[0].keys["processing_tier"] == "standard"
    found, _ = decide("tiers", answers, plans, calibration=calibration_of("a"))
    assert found.keys["processing_tier"] == "high_quality"


def test_a_reference_may_be_left_aside() -> None:
    answers = {**HEARD, "a": heard("wrong", 0.5)}
    found, _ = decide("tiers", answers, tiers(use_reference=False), text=FIVE)
    assert found.keys["processing_tier"] == "high_quality"
    assert found.keys["screening_wer"] is None


@pytest.mark.parametrize("standard", [None, "a"])
def test_the_standard_tier_may_be_the_screening_itself(standard: str | None) -> None:
    answers = {**HEARD, "a": heard("one two", 0.9, 0.8)}
    found, asks = decide("tiers", answers, tiers(standard), text=FIVE)
    assert asks == [Ask(("a",))]
    assert (found.text, found.model, found.words) == ("one two", "a", answers["a"].words)
    assert found.keys["final_pred"] == found.keys["screening_pred"] == "one two"
    assert found.keys["processing_tier"] == "standard"


def test_a_tier_may_be_an_ensemble_that_does_not_ask_the_screening_again() -> None:
    found, asks = decide("tiers", ALL, tiers(high_quality="three"), text="the bat")
    assert asks == [Ask(("a",)), Ask(("b", "c"), patience_s=1.5)]
    assert found.text == "the cat"
    assert found.keys == {
        "plan": "tiers",
        "screening_pred": "the bat",
        "screening_wer": 0.0,
        "final_pred": "the cat",
        "processing_tier": "high_quality",
        "ensemble_pred_text": "the cat",
        "ensemble_model_count": 3,
    }
    assert set(found.texts) == {"a", "b", "c"}


def test_a_screening_that_failed_is_not_asked_again_either() -> None:
    found, asks = decide("tiers", {**ALL, "a": GONE}, tiers(high_quality="three"))
    assert asks == [Ask(("a",)), Ask(("b", "c"), patience_s=1.5)]
    assert found.keys["ensemble_model_count"] == 2
    assert set(found.failed) == {"a"}


def test_a_tier_may_be_a_plan_of_one_model() -> None:
    plans = {**tiers(high_quality="one"), "one": {"model": "d"}}
    found, asks = decide("tiers", {"a": heard("x", 0.1), "d": heard("y", 0.9)}, plans)
    assert asks == [Ask(("a",)), Ask(("d",))]
    assert (found.text, found.keys["plan"]) == ("y", "tiers")


def test_where_the_screening_fails_the_better_tier_is_asked() -> None:
    found, asks = decide("tiers", {**HEARD, "a": GONE}, tiers(), text=FIVE)
    assert asks == [Ask(("a",)), Ask(("b",))]
    assert (found.text, found.model) == ("better", "b")
    assert found.failed == {"a": "model_unavailable"}
    assert found.keys == {
        "plan": "tiers",
        "final_pred": "better",
        "processing_tier": "high_quality",
    }


@pytest.mark.parametrize(
    ("sure", "tier", "gone"), [(0.1, "high_quality", "b"), (1, "standard", "c")]
)
def test_where_the_tier_fails_the_screening_has_the_last_word(
    sure: float, tier: str, gone: str
) -> None:
    found, _ = decide("tiers", {**HEARD, "a": heard("one", sure), gone: LATE}, tiers())
    assert (found.text, found.model, found.failed) == ("one", "a", {gone: "model_timeout"})
    assert found.keys["final_pred"] == "one"
    assert found.keys["processing_tier"] == tier


def test_where_screening_and_tier_fail_the_fallback_has_the_last_word() -> None:
    plans = tiers()
    plans["tiers"] |= {"fallback": ["d"], "fallback_after_s": 2.0}
    answers: dict[str, Any] = {"a": GONE, "b": LATE, "d": heard("at last", 0.9, 0.9)}
    found, asks = decide("tiers", answers, plans)
    assert asks == [Ask((model,), timeout_s=2.0) for model in "abd"]
    assert (found.text, found.keys["fallback_from"]) == ("at last", "tiers")
    assert found.failed["b"] == "model_timeout"
    assert run("tiers", {**answers, "d": GONE}, plans)[0] == failure("b", LATE)


def test_words_are_needed_of_members_screenings_and_calibrated_models() -> None:
    plans = {
        "two": {"ensemble": ["a", "b"]},
        "tiers": {"tiers": {"screen": "c", "high_quality": "d"}},
        "one": {"model": "d", "fallback": ["d"]},
    }
    assert Planner(settings_of(plans)).needs_words == {"a", "b", "c"}
    assert Planner(settings_of(plans), calibration_of("d")).needs_words == {"a", "b", "c", "d"}
    assert Planner(settings_of({})).needs_words == frozenset()
