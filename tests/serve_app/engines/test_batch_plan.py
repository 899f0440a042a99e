from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.engines.batch_plan import plan_batches


def test_like_lengths_go_together_longest_first() -> None:
    assert plan_batches([1.0, 9.0, 1.5, 10.0, 2.0], 20.0) == [[3, 1], [4, 2, 0]]


def test_the_limit_counts_padding_not_sound() -> None:
    # 10 + 1 + 1 seconds of sound, but 20 once the second clip is padded
    assert plan_batches([10.0, 1.0, 1.0], 19.0) == [[0], [1, 2]]


def test_a_clip_beyond_the_limit_is_a_batch_of_its_own() -> None:
    assert plan_batches([5.0, 100.0, 5.0], 10.0) == [[1], [0, 2]]


def test_equal_clips_keep_their_order() -> None:
    assert plan_batches([2.0] * 5, 4.0) == [[0, 1], [2, 3], [4]]


def test_nothing_makes_no_batch() -> None:
    assert plan_batches([], 10.0) == []


@given(
    lengths=st.lists(st.floats(0.01, 100), max_size=60),
    max_padded=st.floats(0.1, 500),
)
def test_every_clip_once_and_no_batch_beyond_the_limit(
    lengths: list[float], max_padded: float
) -> None:
    batches = plan_batches(lengths, max_padded)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = len(batch) * max(lengths[index] for index in batch)
        assert len(batch) == 1 or padded <= max_padded * (1 + 1e-12)


@pytest.mark.parametrize("longest", [30.0, 3.0])
def test_no_more_batches_than_needed(longest: float) -> None:
    lengths = [longest] * 8
    assert len(plan_batches(lengths, longest * 4)) == 2
