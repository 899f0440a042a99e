from __future__ import annotations

import math

import numpy as np
import pytest

from serve_app.rollout.sequence import ConfidenceSequence

ALPHA = 0.05
LOOKS = 2_000
FIRST = 100


def test_state_is_three_sums() -> None:
    sequence = ConfidenceSequence()
    assert sequence.bounds(ALPHA, 500) == (-math.inf, math.inf)
    for value in (1.0, 2.0, 6.0):
        sequence.add(value)
    assert (sequence.n, sequence.total, sequence.squares) == (3, 9.0, 41.0)
    assert sequence.mean == 3.0
    low, high = sequence.bounds(ALPHA, 500)
    assert low + high == pytest.approx(6.0)


def test_the_interval_is_that_of_the_paper() -> None:
    # computed by hand: variance 1, n 500, alpha 0.05, narrowest at 500
    sequence = ConfidenceSequence(n=500, total=0.0, squares=500.0)
    wide = 2 * math.log(20)
    rho2 = (wide + math.log(wide) + 1) / 500
    expected = math.sqrt(
        2 * (500 * rho2 + 1) / (500**2 * rho2) * math.log(math.sqrt(500 * rho2 + 1) / 0.05)
    )
    assert sequence.bounds(0.05, 500)[1] == pytest.approx(expected)
    # an interval that is looked at once has 1.96 standard errors; this one has less than twice that
    assert 1.96 < expected * math.sqrt(500) < 3.92


def test_values_that_never_differ_leave_no_doubt() -> None:
    sequence = ConfidenceSequence()
    for _ in range(200):
        sequence.add(0.1)
    assert sequence.bounds(ALPHA, 500) == pytest.approx((0.1, 0.1))


@pytest.mark.parametrize("skewed", [False, True])
def test_the_mean_is_inside_at_every_look(skewed: bool) -> None:
    """Of 400 rows of observations, at most a share of alpha (and chance) ever leaves the mean."""
    rng = np.random.default_rng(0)
    shape = (400, LOOKS)
    # errors of short utterances: mostly none, sometimes some
    values = rng.poisson(0.5, shape) - 0.5 if skewed else rng.normal(0, 1, shape)
    n = np.arange(1, LOOKS + 1)
    missed = usual = 0
    for row in values:
        total, squares = np.cumsum(row), np.cumsum(row * row)
        bounds = [
            ConfidenceSequence(n=int(n[i]), total=total[i], squares=squares[i]).bounds(ALPHA, 500)
            for i in range(FIRST - 1, LOOKS, 10)
        ]
        missed += any(low > 0 or high < 0 for low, high in bounds)
        error = np.sqrt(np.maximum(squares / n - (total / n) ** 2, 0) / n)
        usual += bool(np.any(np.abs(total / n)[FIRST:] > 1.96 * error[FIRST:]))
    assert missed / len(values) <= ALPHA
    assert usual / len(values) > 0.25, "what looking again and again at the usual interval does"
