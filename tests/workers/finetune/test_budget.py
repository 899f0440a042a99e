from __future__ import annotations

import pytest

from workers.finetune.budget import FINAL_RATE, Budget, learning_rate


def test_steps_or_minutes_are_used_up() -> None:
    assert Budget(steps=10).progress(5, seconds=1e6) == 0.5
    assert Budget(minutes=2).progress(1_000_000, seconds=30) == 0.25
    assert Budget(steps=10).progress(11, 0) == 1.0


@pytest.mark.parametrize("given", [{}, {"steps": 3, "minutes": 1}, {"steps": -1}, {"minutes": 0}])
def test_a_budget_is_one_of_them_and_more_than_nothing(given: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"budget|either"):
        Budget(**given)


def test_the_rate_rises_in_a_line_and_falls_to_almost_nothing() -> None:
    rates = [learning_rate(1e-3, step / 100, 0.1) for step in range(101)]
    assert rates[0] == 0
    assert rates[5] == pytest.approx(0.5e-3)
    assert max(rates) == rates[10] == pytest.approx(1e-3)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(FINAL_RATE)
