from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.registry_crash import run


@pytest.mark.slow
def test_a_registry_outlives_its_writers(tmp_path: Path) -> None:
    counts = run(str(tmp_path / "models"), kills=4, seed=1, folder=tmp_path)
    assert counts.pop("kills") >= 4
    assert counts.pop("operations") > 0
    assert counts.pop("looks") > 0
    assert not any(counts.values()), counts
