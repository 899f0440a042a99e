from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from serve_app.routing.combining.network import build_network
from serve_app.routing.combining.vote import Winner, vote


def elect(
    texts: Sequence[str], confidences: Sequence[Sequence[float]] | None = None, **how: Any
) -> tuple[str, list[Winner]]:
    words = [text.split() for text in texts]
    winners = vote(build_network(words), words, confidences, **how)
    return " ".join(words[each.index][each.word] for each in winners), winners


def test_the_word_of_most_hypotheses_wins() -> None:
    text, winners = elect(["a b", "a x", "a x"])
    assert text == "a x"
    assert [each.score for each in winners] == pytest.approx([1.0, 2 / 3])


def test_null_wins_where_most_have_no_word() -> None:
    assert elect(["a b", "a", "a"])[0] == "a"
    assert elect(["a", "a b", "a b"])[0] == "a b"


def test_a_winner_says_who_has_it_and_where() -> None:
    winner = elect(["b", "a x", "a x"])[1][-1]
    assert (winner.index, winner.word) == (1, 1)
    assert winner.places == ((1, 1), (2, 1))


# three hypotheses say one word each: "a" 0.5 and 0.9, "b" 0.8; so whole is 2.2
@pytest.mark.parametrize(
    ("method", "first", "second"),
    [
        ("mean", 0.6 * 2 / 3 + 0.4 * 0.7, 0.6 / 3 + 0.4 * 0.8),
        ("highest", 0.6 * 2 / 3 + 0.4 * 0.9, 0.6 / 3 + 0.4 * 0.8),
        ("share", 0.6 * 2 / 3 + 0.4 * 1.4 / 2.2, 0.6 / 3 + 0.4 * 0.8 / 2.2),
    ],
)
def test_votes_and_confidences_count_together(method: str, first: float, second: float) -> None:
    sure = [[0.5], [0.8], [0.9]]
    text, (winner,) = elect(["a", "b", "a"], sure, alpha=0.6, method=method)
    assert text == "a"
    assert winner.score == pytest.approx(first)
    assert first > second


@pytest.mark.parametrize(
    ("method", "wins", "score"),
    [("mean", "b", 0.8), ("highest", "a", 0.9), ("share", "a", 1.4 / 2.2)],
)
def test_the_method_decides_where_confidences_alone_count(
    method: str, wins: str, score: float
) -> None:
    text, (winner,) = elect(["a", "b", "a"], [[0.5], [0.8], [0.9]], alpha=0.0, method=method)
    assert text == wins
    assert winner.score == pytest.approx(score)


def test_alpha_weighs_votes_against_confidences() -> None:
    sure = [[0.2], [0.2], [0.9]]
    # "a" has alpha * 2/3 + (1 - alpha) * 0.2, "b" alpha / 3 + (1 - alpha) * 0.9
    assert elect(["a", "a", "b"], sure, alpha=0.65)[0] == "b"
    assert elect(["a", "a", "b"], sure, alpha=0.7)[0] == "a"


@pytest.mark.parametrize(("null_confidence", "said"), [(0.3, "a"), (0.5, "")])
@pytest.mark.parametrize("method", ["mean", "highest"])
def test_null_is_as_sure_as_it_is_told(method: str, null_confidence: float, said: str) -> None:
    how = {"alpha": 0.0, "null_confidence": null_confidence, "method": method}
    assert elect(["a", ""], [[0.4], []], **how)[0] == said


@pytest.mark.parametrize(("null_confidence", "said"), [(0.19, "a"), (0.21, "")])
def test_nulls_add_up_in_their_share(null_confidence: float, said: str) -> None:
    how = {"alpha": 0.0, "null_confidence": null_confidence, "method": "share"}
    assert elect(["a", "", ""], [[0.4], [], []], **how)[0] == said


def test_no_share_is_to_be_had_where_nobody_is_sure_at_all() -> None:
    text, (winner,) = elect(["a", "b"], [[0.0], [0.0]], alpha=0.0, method="share")
    assert (text, winner.score) == ("a", 0.0)


def test_a_weight_is_worth_that_many_votes() -> None:
    texts = ["a", "a", "b"]
    assert elect(texts, weights=[1, 1, 1.9])[0] == "a"
    text, (winner,) = elect(texts, weights=[1, 1, 3])
    assert text == "b"
    assert winner.score == pytest.approx(3 / 5)


def test_weights_leave_confidences_as_they_are() -> None:
    text, (winner,) = elect(["a", "b"], [[0.3], [0.6]], alpha=0.5, weights=[3, 1])
    assert text == "a"
    assert winner.score == pytest.approx(0.5 * 0.75 + 0.5 * 0.3)


def test_of_equals_the_first_wins() -> None:
    assert elect(["a", "b", "c"])[0] == "a"
    assert elect(["c", "b", "c", "b"])[0] == "c"


def test_a_word_wins_against_as_many_nulls() -> None:
    for texts in (["b", ""], ["", "b"]):
        assert elect(texts)[0] == "b"


def test_rounding_breaks_no_tie() -> None:
    # "a" 0.8 * 2/5 + 0.2 * 1.0, and NULL 0.8 * 3/5 + 0.2 * 0.2: both 0.52, in floats they differ
    sure = [[1.0], [0.9], [], [], []]
    how = {"alpha": 0.8, "null_confidence": 0.2, "method": "highest"}
    assert elect(["a", "a", "", "", ""], sure, **how)[0] == "a"


def test_nobody_says_anything() -> None:
    assert elect(["", ""]) == ("", [])


def test_votes_equal_those_of_rover() -> None:
    """`rover.jsonl` is written by `python -m tests.scenarios.check_rover --golden FILE`."""
    lines = Path(__file__).with_name("rover.jsonl").read_text().splitlines()
    assert len(lines) == 300
    for case in map(json.loads, lines):
        how = {key: case[key] for key in ("alpha", "null_confidence", "method")}
        assert elect(case["hypotheses"], case["confidences"], **how)[0] == case["words"]
