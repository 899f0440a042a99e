"""`make quality`, shorter, with observations as of two models that differ much."""

from __future__ import annotations

import json

import msgspec

from tests.scenarios.quality import power
from tests.workers.quality.simulated import observations
from workers.quality.observations import Observation


def clips(wer: float, confidence: float = 0.92) -> list[Observation]:
    found = observations(1, 80, wer=wer, confidence=confidence)
    return [msgspec.structs.replace(each, time=None) for each in found]


def test_a_worse_model_is_found_and_a_healthy_one_left_alone() -> None:
    healthy = clips(0.1)
    worse = clips(0.3, 0.8)
    figures, faults = power(healthy, worse, runs=2)
    assert faults == []
    assert figures["false_alarms"] == 0
    assert figures["found_with_references_after"] <= 500
    json.dumps(figures, allow_nan=False)


def test_a_model_that_is_not_worse_is_not_found() -> None:
    healthy = clips(0.1)
    figures, faults = power(healthy, healthy, runs=1)
    assert figures["found_with_references_after"] is None
    assert len(faults) == 2
