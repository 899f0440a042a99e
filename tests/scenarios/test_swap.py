"""`make swap`, shorter."""

from __future__ import annotations

import pytest

from tests.scenarios.swap import run_swaps


@pytest.mark.kafka
@pytest.mark.ray
@pytest.mark.slow
def test_versions_change_in_the_stream() -> None:
    figures, faults = run_swaps(600, ("works", "fails", "works"), say=print)
    # only a machine without other work shows how long nothing was at work
    assert [fault for fault in faults if not fault.startswith("no version worked")] == []
    assert figures["records"] == 600
    assert (figures["swaps"], figures["refused"]) == (2, 1)
    wrong = ("lost", "duplicated", "dead_lettered", "wrong_version")
    assert not any(figures[key] for key in wrong)
