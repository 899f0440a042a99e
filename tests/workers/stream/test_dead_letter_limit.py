from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workers.stream.dead_letter_limit import DeadLetterLimit


def test_a_run_of_dead_letters_is_refused_across_commits() -> None:
    limit = DeadLetterLimit(ratio=1.0, window=1000, consecutive=5)
    assert limit.exceeded([True] * 4) is None
    limit.accept([True] * 4)
    assert "5 records in a row" in (limit.exceeded([True]) or "")
    assert limit.exceeded([False, True]) is None


def test_asking_changes_nothing() -> None:
    limit = DeadLetterLimit(ratio=1.0, window=10, consecutive=3)
    for _ in range(10):
        assert limit.exceeded([True, True]) is None


def test_the_share_counts_once_the_window_is_full() -> None:
    limit = DeadLetterLimit(ratio=0.5, window=10, consecutive=100)
    flags = [True, True, False] * 3
    assert limit.exceeded(flags) is None
    limit.accept(flags)
    reason = limit.exceeded([True])
    assert reason is not None
    assert "7 of the last 10" in reason
    assert "max_dead_letter_ratio is 0.5" in reason


def test_old_dead_letters_leave_the_window() -> None:
    limit = DeadLetterLimit(ratio=0.5, window=4, consecutive=100)
    limit.accept([True, True, False, False])
    limit.accept([False, False])
    assert limit.exceeded([True, True]) is None
    assert limit.exceeded([True, True, True]) is not None


@given(
    flags=st.lists(st.booleans(), max_size=60),
    window=st.integers(1, 12),
    consecutive=st.integers(1, 8),
    ratio=st.floats(0.05, 1.0),
)
def test_agrees_with_the_definition(
    flags: list[bool], window: int, consecutive: int, ratio: float
) -> None:
    limit = DeadLetterLimit(ratio, window, consecutive)
    seen: list[bool] = []
    crossed = False
    for flag in flags:
        seen.append(flag)
        last = seen[-window:]
        crossed |= len(seen) >= consecutive and all(seen[-consecutive:])
        crossed |= len(last) == window and sum(last) > ratio * window
    assert (limit.exceeded(flags) is not None) == crossed
