from __future__ import annotations

import pytest

from serve_app.scoring.wer import ErrorCounts
from workers.evaluation.statistics.scores import Score, UtteranceScore, pool, score_utterance


def test_the_headline_is_pooled_and_the_mean_stands_beside_it() -> None:
    found = pool(
        [score_utterance("a b c d e f g h i", "a b c d e f g h i"), score_utterance("x", "y")]
    )
    assert found.wer == pytest.approx(10.0)
    assert (found.mean_wer, found.median_wer, found.wer_std) == (50.0, 50.0, 50.0)
    assert (found.excellent_rate, found.good_rate) == (50.0, 50.0)
    assert found.words == ErrorCounts(substitutions=1, reference=10)
    assert found.cer == pytest.approx(100 / 18, abs=1e-3)


def test_a_failure_deletes_all_words() -> None:
    found = pool([score_utterance("a b", None), score_utterance("c d", "c d")])
    assert (found.failed, found.wer, found.words.deletions) == (1, 50.0, 2)


def test_what_is_heard_where_nothing_is_said_counts_and_has_no_rate() -> None:
    found = pool([score_utterance("", "three made up"), score_utterance("a b c d", "a b c d")])
    assert (found.empty_references, found.words.insertions) == (1, 3)
    assert found.wer == 75.0
    assert found.mean_wer == 0.0


def test_utterances_without_a_reference_are_counted_apart() -> None:
    found = pool([None, score_utterance("a", "a"), None])
    assert (found.utterances, found.without_reference, found.wer) == (1, 2, 0.0)


@pytest.mark.parametrize("scores", [[], [None], [score_utterance("", "")]])
def test_nothing_is_ever_divided_by_nothing(scores: list[UtteranceScore | None]) -> None:
    found = pool(scores)
    rates = found.wer, found.cer, found.mean_wer, found.median_wer, found.excellent_rate
    assert rates == (None,) * 5
    assert isinstance(found, Score)
