"""`make rollout`, shorter."""

from __future__ import annotations

import pytest

from tests.scenarios.rollout import run_rollouts


@pytest.mark.kafka
@pytest.mark.ray
@pytest.mark.slow
def test_candidates_are_compared_in_the_stream() -> None:
    figures, faults = run_rollouts(print, worse=False, kills=1, restart=False, blocks=300)
    assert faults == []
    assert figures["promoted"] == 1
    wrong = ("lost", "duplicated", "dead_lettered", "wrong_version", "strays")
    assert not any(figures[key] for key in wrong)
