"""Scaling on a real Ray and Kafka, in short; `make scaling` takes its time."""

from __future__ import annotations

import pytest

from tests.scenarios.scaling import Sample, judged, run_scaling


@pytest.mark.kafka
@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(420)
def test_replicas_follow_what_waits_and_nothing_is_lost() -> None:
    figures, faults = run_scaling(load=2.4, step_s=45.0, teeth=0, tooth_s=1.0, say=print)
    assert faults == []
    assert figures["lost"] == 0
    assert figures["steps_to_target"] >= 1


def test_a_scaling_that_does_not_settle_is_a_fault() -> None:
    def samples(*targets: int) -> list[Sample]:
        return [
            Sample(at=10.0 * index, target=target, running=target, workers=1, lag=0)
            for index, target in enumerate(targets)
        ]

    figures, faults = judged(3.0, 100.0, samples(1, 2, 3, 3, 3, 3, 3, 3, 3, 3), [])
    assert faults == []
    assert (figures["steps_to_target"], figures["overshoot"]) == (2, 0)
    assert (figures["changes_after_settling"], figures["lag_drained_s"]) == (0, 30.0)
    _, faults = judged(3.0, 100.0, samples(1, 3, 4, 3, 4, 3, 4, 3, 4, 3), [])
    assert faults == ["after settling, the number of replicas went on changing"]
    _, faults = judged(3.0, 100.0, samples(*[1] * 10), [])
    assert faults == ["a load of 3.0 got 1 replicas"]
    saw = samples(*[1, 3] * 10)
    _, faults = judged(3.0, 100.0, samples(*[3] * 10), saw)
    assert faults == ["a sawtooth made the number of replicas go up and down"]
