from __future__ import annotations

from pathlib import Path

import pytest

from tests.workers.evaluation import scripted


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Thirteen clean utterances of sixty words, 0.8 to 18.6 s, by two speakers."""
    return scripted.write_set(tmp_path / "speech", speaker=lambda n: f"s{n % 2}")
