"""`make bad-input`, shorter."""

from __future__ import annotations

import pytest

from tests.scenarios.bad_input import run_bad_input


@pytest.mark.kafka
@pytest.mark.ray
@pytest.mark.slow
def test_every_bad_record_is_a_dead_letter_and_every_good_one_is_transcribed() -> None:
    figures, faults = run_bad_input(60, copies=1, engine="stand-in", seed=1, say=print)
    assert faults == []
    assert figures["kinds"] >= 200
    assert figures["dead_lettered"] == figures["bad"]
    assert figures["transcribed"] == figures["good"]
    assert figures["restarts"] == 0
