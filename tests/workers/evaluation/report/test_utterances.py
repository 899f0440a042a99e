from __future__ import annotations

import pytest

from serve_app.scoring.alignment import align
from tests.workers.evaluation.report.samples import comparison, text_of, worst
from workers.evaluation.report import render
from workers.evaluation.statistics.scores import pool, score_utterance


def test_errors_are_aligned_and_told_apart_by_elements(full: str) -> None:
    assert (
        '<p class="diff" dir="auto">one <span class="substitution"><del>two</del> <ins>too</ins>'
        "</span> <del>three</del></p>"
    ) in full


@pytest.mark.parametrize(
    ("reference", "hypothesis", "kinds"),
    [
        ("A b, c", "a b x c", ["equal", "insert", "equal"]),
        ("a b", "", ["delete"]),
        ("", "a b", ["insert"]),
        ("a b", "x y", ["substitute", "substitute"]),
        ("", "", []),
    ],
)
def test_alignments(reference: str, hypothesis: str, kinds: list[str]) -> None:
    pieces = align(reference, hypothesis)
    assert [each.kind for each in pieces] == kinds
    assert [w for each in pieces for w in each.spoken.split()] == reference.lower().replace(
        ",", ""
    ).split()
    assert [w for each in pieces for w in each.heard.split()] == hypothesis.split()


def test_a_failure_is_not_an_empty_answer() -> None:
    nothing, failed = worst("u1", "hi", "", 1), worst("u2", "hi", "", 1, failed=True)
    assert "the system failed" not in render(comparison({"calm": {"a": 1}}, bad=[nothing]))
    page = text_of(render(comparison({"calm": {"a": 1}}, bad=[nothing, failed])))
    assert page.count("the system failed") == 1
    assert page.index("u2") < page.index("the system failed")


def test_scores_of_real_texts_agree_with_their_alignment() -> None:
    pairs = [("the cat sat", "a cat sat down"), ("yes", ""), ("", "no")]
    for reference, hypothesis in pairs:
        errors = pool([score_utterance(reference, hypothesis)]).words.errors
        wrong = [each for each in align(reference, hypothesis) if each.kind != "equal"]
        assert sum(max(len(e.spoken.split()), len(e.heard.split())) for e in wrong) == errors
