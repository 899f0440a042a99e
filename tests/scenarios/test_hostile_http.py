"""`make hostile-http`, with a stand-in for the model."""

from __future__ import annotations

import pytest

from tests.scenarios.hostile_http import run_hostile_http


@pytest.mark.ray
@pytest.mark.slow
def test_every_hostile_request_is_refused_and_nothing_dies_of_it() -> None:
    figures, _, faults = run_hostile_http("stand-in", say=print)
    assert faults == []
    assert figures["tried"] >= 60
    assert figures["answered_4xx"] == figures["tried"]
    assert figures["crashes"] == 0
