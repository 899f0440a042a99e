"""What a clip costs a model, with its padding."""

from __future__ import annotations

import pytest

from schemas.settings import ModelSettings
from workers.manifests.costs import cost_of


@pytest.mark.parametrize(
    ("seconds", "split_seconds", "computed"),
    [(2.0, 40.0, 30.0), (30.0, 40.0, 30.0), (31.0, 40.0, 60.0), (25.0, 10.0, 90.0)],
)
def test_whisper_computes_whole_windows(
    seconds: float, split_seconds: float, computed: float
) -> None:
    model = ModelSettings(engine="faster-whisper", path="x", split_seconds=split_seconds)
    assert cost_of(model)(seconds) == computed


@pytest.mark.parametrize(
    "model",
    [
        ModelSettings(path="general.nemo"),
        ModelSettings(engine="package.module:Class"),
        ModelSettings(engine="transformers", path="gone"),
        ModelSettings(engine="transformers", model="gone@production"),
    ],
)
def test_other_models_compute_what_they_hear(model: ModelSettings) -> None:
    assert cost_of(model)(2.0) == 2.0
