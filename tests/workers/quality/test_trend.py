"""Changes of a mean are found soon and in their place, and none where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from workers.quality.trend import Trend, find_change, ratio_interval


def shares(rate: float, count: int, rng: np.random.Generator) -> np.ndarray:
    return (rng.random(count) < rate).astype(float)


def normal(values: np.ndarray, first: int = 1000, alpha: float = 0.01) -> Trend:
    return find_change(values, np.ones(len(values)), first=first, alpha=alpha)


def test_a_change_is_found_where_it_is() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0, 1, 3000), rng.normal(0.5, 1, 1000)])
    trend = normal(values)
    assert trend.change is not None
    assert abs(trend.change.at - 3000) < 50
    assert trend.change.certain_at < 3300
    assert trend.low < 0.5 < trend.high
    assert trend.difference == pytest.approx(trend.after - trend.before)


def test_a_change_back_does_not_hide_it() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(mean, 1, count) for mean, count in ((0, 2000), (1, 400), (0, 6000))]
    trend = normal(np.concatenate(parts))
    assert trend.change is not None
    assert abs(trend.change.at - 2000) < 50


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.1])
def test_nothing_is_found_in_shares_that_stay(rate: float) -> None:
    found = 0
    for seed in range(40):
        values = shares(rate, 4000, np.random.default_rng(seed))
        trend = find_change(values, np.ones(4000), first=1000, alpha=0.01, share=True)
        found += trend.change is not None
    assert found <= 1


def test_records_that_resemble_their_neighbours_are_no_change() -> None:
    """Calls of 25 records: each record by itself says little."""
    found = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        calls = np.repeat(rng.normal(0, 1, 160), 25)
        found += normal(calls + rng.normal(0, 1, 4000)).change is not None
    assert found <= 1


def test_the_interval_of_a_difference_holds_what_is_true() -> None:
    outside = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        trend = normal(rng.normal(1, 1, 3000), alpha=1e-9)
        outside += not trend.low <= 0 <= trend.high
    assert outside <= 5


def test_a_ratio_pools_and_has_an_interval() -> None:
    rng = np.random.default_rng(0)
    words = rng.integers(1, 20, 2000).astype(float)
    errors = rng.binomial(words.astype(int), 0.1).astype(float)
    ratio, low, high = ratio_interval(errors, words)
    assert ratio == errors.sum() / words.sum()
    assert low < 0.1 < high
    assert high - low < 0.03
    assert np.isnan(ratio_interval(errors[:50], words[:50])[1]), "too few to know the variance"


def test_what_never_came_may_yet_come() -> None:
    nothing = np.zeros(3000)
    _, _, high = ratio_interval(nothing, np.ones(3000), share=True)
    assert 0.0005 < high < 0.002, "three in a number that there were none in, or a little more"


def test_what_never_varies_is_stable_and_a_jump_of_it_is_not() -> None:
    flat = np.full(3000, 8000.0)
    assert normal(flat).change is None
    jump = np.concatenate([flat, np.full(200, 4000.0)])
    found = normal(jump)
    assert found.change is not None
    assert found.change.at == 3000


def test_only_one_beginning_may_be_asked_about() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0, 1, 1000), rng.normal(0.8, 1, 100)])
    trend = find_change(values, np.ones(1100), first=1000, alpha=0.01, anywhere=False)
    assert trend.change is not None
    assert trend.change.at == 1000


@pytest.mark.parametrize(("records", "first"), [(1050, 1000), (2000, 1010), (2000, 50)])
def test_too_few_records_are_refused(records: int, first: int) -> None:
    with pytest.raises(ValueError, match="not enough"):
        normal(np.zeros(records), first=first)
