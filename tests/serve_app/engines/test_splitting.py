from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.transcript import Word
from serve_app.audio.clip import Clip
from serve_app.engines.base import Hypothesis
from serve_app.engines.splitting import join_hypotheses, split_at_silences

RATE = 1000


def noise_with_pauses(seconds: float, pauses: list[tuple[float, float]]) -> Clip:
    clip = np.random.default_rng(0).normal(0, 0.1, int(seconds * RATE)).astype(np.float32)
    for start, end in pauses:
        clip[int(start * RATE) : int(end * RATE)] *= 0.01
    return clip


def test_a_clip_that_fits_is_left_alone() -> None:
    clip = noise_with_pauses(10, [(5, 6)])
    assert split_at_silences(clip, RATE, 10) == [(0, len(clip))]


def test_cuts_lie_in_the_pauses() -> None:
    pauses = [(8.3, 8.7), (16.0, 16.3), (25.2, 25.6)]
    clip = noise_with_pauses(31, pauses)
    spans = split_at_silences(clip, RATE, 10)
    cuts = [end / RATE for _, end in spans[:-1]]
    assert len(cuts) == len(pauses)
    for cut, (start, end) in zip(cuts, pauses, strict=True):
        assert start < cut < end


def test_a_pause_far_before_the_limit_is_passed_over() -> None:
    clip = noise_with_pauses(12, [(2, 3), (9, 9.4)])
    assert 9 < split_at_silences(clip, RATE, 10)[0][1] / RATE < 9.4


def test_the_longer_pieces_are_taken_where_all_is_equally_quiet() -> None:
    spans = split_at_silences(np.zeros(95 * RATE, np.float32), RATE, 10)
    assert len(spans) == 10


def test_loud_audio_without_a_pause_is_cut_all_the_same() -> None:
    clip = np.full(25 * RATE, 0.5, np.float32)
    assert all(end - start <= 10 * RATE for start, end in split_at_silences(clip, RATE, 10))


def test_a_rest_just_beyond_the_limit_leaves_no_crumb() -> None:
    clip = noise_with_pauses(10.05, [(9.9, 10.05)])
    _, second = split_at_silences(clip, RATE, 10)
    assert second[1] - second[0] >= RATE


@settings(max_examples=60, deadline=None)
@given(
    samples=st.integers(1, 40 * RATE),
    limit=st.floats(2, 15),
    rate=st.sampled_from([RATE, 997]),
    seed=st.integers(0, 5),
)
def test_spans_cover_the_clip_and_keep_the_limit(
    samples: int, limit: float, rate: int, seed: int
) -> None:
    clip = np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)
    spans = split_at_silences(clip, rate, limit)
    assert spans[0][0] == 0
    assert spans[-1][1] == samples
    assert all(end == start for (_, end), (start, _) in pairwise(spans))
    assert all(0 < end - start <= limit * rate for start, end in spans)
    if len(spans) > 1:
        assert min(end - start for start, end in spans) >= rate


def heard(text: str, confidence: float | None, *times: float) -> Hypothesis:
    words = [
        Word(word, start, start + 0.5, confidence)
        for word, start in zip(text.split(), times, strict=True)
    ]
    return Hypothesis(text=text, confidence=confidence, words=words)


def test_join_moves_words_and_weighs_confidence_by_words() -> None:
    whole = join_hypotheses([(0.0, heard("a b c", 0.9, 0, 1, 2)), (10.0, heard("d", 0.5, 0.25))])
    assert whole.text == "a b c d"
    assert whole.confidence == pytest.approx((3 * 0.9 + 0.5) / 4)
    assert whole.words is not None
    assert [(word.start, word.end) for word in whole.words][-1] == (10.25, 10.75)


def test_join_passes_over_silent_pieces() -> None:
    silent = Hypothesis(text="", confidence=None, words=[])
    whole = join_hypotheses([(0.0, silent), (5.0, heard("a", 0.8, 1)), (9.0, silent)])
    assert whole == Hypothesis(text="a", confidence=0.8, words=[Word("a", 6.0, 6.5, 0.8)])


def test_join_gives_no_confidence_or_words_where_a_piece_lacks_them() -> None:
    lacking = Hypothesis(text="b", confidence=None, words=None)
    whole = join_hypotheses([(0.0, heard("a", 0.8, 1)), (5.0, lacking)])
    assert whole == Hypothesis(text="a b", confidence=None, words=None)
