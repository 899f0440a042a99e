from __future__ import annotations

import pytest

from tests.scenarios.ray_faults import FAULTS, run_ray_faults

pytestmark = [pytest.mark.kafka, pytest.mark.ray, pytest.mark.slow]


@pytest.mark.timeout(600)
def test_processes_of_ray_that_die_lose_and_leave_nothing() -> None:
    """`make ray-faults` in small: the GCS, the raylet, and the worker's connection."""
    some = {"the GCS", "the raylet, and SIGTERM", "the worker's connection"}
    faults = tuple(fault for fault in FAULTS if fault.name in some)
    figures, found = run_ray_faults(faults, "stand-in", print)
    assert found == []
    assert figures["kills"] == len(some)
