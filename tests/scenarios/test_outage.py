"""`make outage`, shorter."""

from __future__ import annotations

import pytest

from tests.scenarios.outage import run_outage


@pytest.mark.kafka
@pytest.mark.ray
@pytest.mark.slow
def test_an_outage_pauses_the_worker_and_loses_nothing() -> None:
    figures, faults = run_outage(200, outage_s=12, engine="stand-in", say=print)
    assert faults == []
    assert figures["records"] == 200
    assert figures["lost"] == figures["duplicated"] == figures["dead_lettered"] == 0
    assert figures["replica_kills"] >= 2
