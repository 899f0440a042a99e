from __future__ import annotations

import pytest

from serve_app.audio.clip import Clip
from tests.serve_app.engines.nemo.tiny_models import babble


@pytest.fixture(scope="module")
def babbles() -> list[Clip]:
    """Clips of mixed length, the shortest beyond the second to which NeMo pads arrays."""
    return [babble(seconds, seed) for seed, seconds in enumerate((1.5, 4.2, 1.05, 2.2, 3.1, 1.5))]
