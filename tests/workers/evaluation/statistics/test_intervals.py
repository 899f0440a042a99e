from __future__ import annotations

import kaldialign
import pytest
from numpy.random import default_rng

from workers.evaluation.statistics.intervals import MIN_BLOCKS, Bootstrap
from workers.evaluation.statistics.scores import UtteranceScore, score_utterance

N = 200


def texts(error_rate: float, seed: int) -> list[tuple[str, str]]:
    """References of ten words, and hypotheses with some of them wrong."""
    rng = default_rng(seed)
    pairs = []
    for _ in range(N):
        words = [f"w{i}" for i in range(10)]
        pairs.append(
            (" ".join(words), " ".join("x" if rng.random() < error_rate else w for w in words))
        )
    return pairs


def scores(error_rate: float, seed: int = 1) -> list[UtteranceScore]:
    return [score_utterance(*pair) for pair in texts(error_rate, seed)]


NOBODY = [""] * N
ALL = [True] * N


def test_the_interval_is_kaldis() -> None:
    pairs = texts(0.2, 1)
    theirs = kaldialign.bootstrap_wer_ci(
        *zip(*[(a.split(), b.split()) for a, b in pairs], strict=True)
    )
    ours = Bootstrap(NOBODY, ALL).interval([score_utterance(*pair) for pair in pairs])
    assert ours is not None
    assert ours.low == pytest.approx(100 * theirs["ci95min"], abs=0.3)
    assert ours.high == pytest.approx(100 * theirs["ci95max"], abs=0.3)


def test_a_clear_difference_is_significant_and_none_is_not() -> None:
    found = Bootstrap(NOBODY, ALL).differences(
        {"good": scores(0.1, 1), "bad": scores(0.3, 2), "as good": scores(0.1, 3)}
    )
    assert [(each.a, each.b) for each in found] == [
        ("good", "bad"),
        ("good", "as good"),
        ("bad", "as good"),
    ]
    clear, none, _ = found
    assert clear.significant
    assert clear.low < clear.wer < clear.high < 0
    assert clear.wer == pytest.approx(-20, abs=3)
    assert not none.significant
    assert none.low < 0 < none.high


def test_the_same_texts_differ_in_nothing() -> None:
    (found,) = Bootstrap(NOBODY, ALL).differences({"a": scores(0.2), "b": scores(0.2)})
    assert (found.wer, found.low, found.high, found.p, found.significant) == (0, 0, 0, 1, False)


def test_the_more_pairs_the_stronger_the_evidence_must_be() -> None:
    alone = Bootstrap(NOBODY, ALL).differences({"a": scores(0.2, 1), "b": scores(0.23, 2)})
    among = Bootstrap(NOBODY, ALL).differences(
        {"a": scores(0.2, 1), "b": scores(0.23, 2), "c": scores(0.5, 3), "d": scores(0.6, 4)}
    )
    assert alone[0].p == among[0].p == alone[0].p_adjusted
    assert all(each.p_adjusted >= each.p for each in among)
    strongest = min(among, key=lambda each: each.p)
    assert strongest.p_adjusted == pytest.approx(len(among) * strongest.p)
    assert among[0].p_adjusted > alone[0].p_adjusted or among[0].p == 1


def test_speakers_are_drawn_where_there_are_enough_of_them() -> None:
    # half of the speakers are all wrong: utterances of a speaker are not independent
    speakers = [f"s{i % MIN_BLOCKS}" for i in range(N)]
    clustered = [
        score_utterance("a b c", "a b c" if i % MIN_BLOCKS < MIN_BLOCKS / 2 else "x y z")
        for i in range(N)
    ]
    by_speaker = Bootstrap(speakers, ALL)
    assert (by_speaker.unit, by_speaker.blocks) == ("speakers", MIN_BLOCKS)
    wide, narrow = by_speaker.interval(clustered), Bootstrap(NOBODY, ALL).interval(clustered)
    assert wide is not None
    assert narrow is not None
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


@pytest.mark.parametrize("speakers", [["s0"] * N, ["s0"] * (N - 1) + [""]])
def test_too_few_or_unknown_speakers_leave_utterances(speakers: list[str]) -> None:
    assert Bootstrap(speakers, ALL).unit == "utterances"


def test_without_words_there_is_no_interval() -> None:
    silent = [score_utterance("", "") for _ in range(5)]
    bootstrap = Bootstrap([""] * 5, [True] * 5)
    assert bootstrap.interval(silent) is None
    assert bootstrap.differences({"a": silent, "b": silent}) == []
    assert Bootstrap([""], [True]).interval([score_utterance("a", "b")]) is None
    assert Bootstrap([], []).interval([]) is None


def test_unscored_utterances_take_no_part() -> None:
    some: list[UtteranceScore | None] = [*scores(0.2), None, None]
    ours = Bootstrap([""] * (N + 2), [*ALL, False, False]).interval(some)
    assert ours == Bootstrap(NOBODY, ALL).interval(scores(0.2))
