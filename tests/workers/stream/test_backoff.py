from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from workers.stream.backoff import Backoff


@given(attempt=st.integers(1, 10_000), seed=st.integers())
def test_backoff_is_jittered_below_an_exponential_bound(attempt: int, seed: int) -> None:
    delay = Backoff(0.5, 15.0, random.Random(seed)).delay_s(attempt)
    assert 0.0 <= delay <= min(15.0, 0.5 * 2.0 ** min(attempt - 1, 100))


def test_backoff_uses_the_whole_range() -> None:
    backoff = Backoff(1.0, 8.0, random.Random(1))
    delays = [backoff.delay_s(10) for _ in range(500)]
    assert min(delays) < 0.5
    assert max(delays) > 7.5
