from __future__ import annotations

import pytest

from tests.workers.evaluation.report.samples import PAIRS, SLICES, THREE, comparison, worst
from workers.evaluation.report import render


@pytest.fixture(scope="session")
def full() -> str:
    """Three systems on two sets, with all that a page can have."""
    return render(
        comparison(
            {"calm": THREE, "loud": {"a": 40, "b": 41, "c": 60}},
            {"calm": PAIRS},
            {"calm": SLICES, "loud": SLICES},
            PAIRS,
            bad=[worst()],
        )
    )
