from __future__ import annotations

from tests.workers.evaluation.report.samples import PAIRS, THREE, comparison, difference, text_of
from workers.evaluation.report import render


def test_differences_are_told_from_the_better_one(full: str) -> None:
    text = text_of(full)
    assert "b is better than a by 20.0 points (95%: 18.0 to 23.0)" in text
    assert "b or c : no difference shown, 2.0 points (95%: −1.0 to 4.0)" in text
    assert "2 of 3 pairs differ; 9 speakers drawn" in text
    assert "loud cannot be tested" in text


def test_all_sets_together_have_differences_of_their_own(full: str) -> None:
    text = text_of(full)
    assert "All sets pooled 2 of 3 pairs differ; 15 speakers drawn" in text
    page = text_of(render(comparison({"calm": THREE}, {"calm": PAIRS})))
    assert "All sets" not in page
    page = text_of(render(comparison({"calm": THREE, "loud": THREE}, {"calm": PAIRS})))
    assert "All sets pooled cannot be tested" in page


def test_the_number_of_draws_is_the_comparisons(full: str) -> None:
    assert "are drawn at random 1,234 times" in text_of(full)
    assert "1,234 sets drawn with replacement" in text_of(full)


def test_the_proven_ones_come_first_and_the_largest_of_them() -> None:
    pairs = [
        difference("a", "b", 30.0, 0.4),
        difference("a", "c", 8.0, 0.01),
        difference("b", "c", -9.0, 0.01),
    ]
    text = text_of(render(comparison({"calm": THREE}, {"calm": pairs})))
    places = [text.index(t) for t in ("b is better than c", "c is better than a", "b or a")]
    assert places == sorted(places)
