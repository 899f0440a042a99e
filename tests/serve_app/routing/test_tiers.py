"""Plans of tiers: a screening, then the tier that it calls for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from serve_app.engines.base import Hypothesis
from serve_app.routing.plans import Query
from tests.serve_app.routing.plan_runs import (
    ALL,
    GONE,
    LATE,
    THREE,
    calibration_of,
    decide,
    failure,
    heard,
    run,
)


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
    found, queries = decide("tiers", answers, tiers(), text=FIVE)
    target = "b" if tier == "high_quality" else "c"
    assert queries == [Query(("a",)), Query((target,))]
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
    found, queries = decide("tiers", answers, tiers(standard), text=FIVE)
    assert queries == [Query(("a",))]
    assert (found.text, found.model, found.words) == ("one two", "a", answers["a"].words)
    assert found.keys["final_pred"] == found.keys["screening_pred"] == "one two"
    assert found.keys["processing_tier"] == "standard"


def test_a_tier_may_be_an_ensemble_that_does_not_ask_the_screening_again() -> None:
    found, queries = decide("tiers", ALL, tiers(high_quality="three"), text="the bat")
    assert queries == [Query(("a",)), Query(("b", "c"), patience_s=1.5)]
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
    found, queries = decide("tiers", {**ALL, "a": GONE}, tiers(high_quality="three"))
    assert queries == [Query(("a",)), Query(("b", "c"), patience_s=1.5)]
    assert found.keys["ensemble_model_count"] == 2
    assert set(found.failed) == {"a"}


def test_a_tier_may_be_a_plan_of_one_model() -> None:
    plans = {**tiers(high_quality="one"), "one": {"model": "d"}}
    found, queries = decide("tiers", {"a": heard("x", 0.1), "d": heard("y", 0.9)}, plans)
    assert queries == [Query(("a",)), Query(("d",))]
    assert (found.text, found.keys["plan"]) == ("y", "tiers")


def test_where_the_screening_fails_the_better_tier_is_asked() -> None:
    found, queries = decide("tiers", {**HEARD, "a": GONE}, tiers(), text=FIVE)
    assert queries == [Query(("a",)), Query(("b",))]
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
    found, queries = decide("tiers", answers, plans)
    assert queries == [Query((model,), timeout_s=2.0) for model in "abd"]
    assert (found.text, found.keys["fallback_from"]) == ("at last", "tiers")
    assert found.failed == {"a": "model_unavailable", "b": "model_timeout"}
    none = run("tiers", {**answers, "d": GONE}, plans)[0]
    assert none == replace(failure("b", LATE), others={"a": "model_unavailable"})
