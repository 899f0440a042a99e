from __future__ import annotations

from tests.workers.evaluation.report.samples import (
    PAIRS,
    THREE,
    best_cells,
    comparison,
    difference,
    verdicts,
)
from workers.evaluation.report import render


def test_the_best_of_each_set_is_told_and_marked(full: str) -> None:
    calm, loud, overall = verdicts(full)
    assert calm == (
        "b has the lowest WER, 10.0% (9.0–11.0); better than a, but no difference from c is shown."
    )
    assert loud == "a has the lowest WER, 40.0% (39.0–41.0)."
    assert overall == (
        "b has the lowest WER, 25.5% (0.0–99.0); better than a, but no difference from c is shown."
    )
    assert best_cells(full) == [(0, 1), (1, 0), (1, 2)]


def test_a_best_one_that_beats_all_others() -> None:
    pairs = [*PAIRS[:2], difference("b", "c", -2.0, 0.04)]
    page = render(comparison({"calm": THREE}, {"calm": pairs}))
    assert verdicts(page) == ["b has the lowest WER, 10.0% (9.0–11.0); better than a and c."]


def test_two_may_share_the_lowest_wer() -> None:
    pairs = [
        difference("a", "b", 0.0, 1.0),
        difference("a", "c", -20.0, 0.001),
        difference("b", "c", -20.0, 0.2),
    ]
    page = render(comparison({"calm": {"a": 10, "b": 10, "c": 30}}, {"calm": pairs}))
    assert verdicts(page)[0].startswith("a and b share the lowest WER, 10.0%")
    assert verdicts(page)[0].endswith("no difference from c is shown.")
    assert best_cells(page) == [(0, 0), (1, 0)]


def test_all_sets_together_need_not_agree_with_any_of_them() -> None:
    both = {"calm": {"a": 10, "b": 40}, "loud": {"a": 50, "b": 10}}
    clear = [difference("a", "b", 5.0, 0.01)]
    told = verdicts(render(comparison(both, overall_pairs=clear)))
    assert told[-1] == "b has the lowest WER, 25.0% (0.0–99.0); better than a."
    told = verdicts(render(comparison(both, overall_pairs=[difference("a", "b", 5.0, 0.3)])))
    assert told[-1].endswith("; no difference from a is shown.")
    assert verdicts(render(comparison(both)))[-1] == "b has the lowest WER, 25.0% (0.0–99.0)."
