from __future__ import annotations

import pytest

from schemas.settings import ModelSettings
from serve_app.registry.source import fixed_version


@pytest.mark.parametrize(
    ("settings", "version"),
    [
        (ModelSettings(path="/models/medical/12/model.nemo"), "12"),
        (ModelSettings(path="/models/medical.nemo"), None),
        (ModelSettings(pretrained="nvidia/x"), None),
        (ModelSettings(model="medical:12"), "12"),
        (ModelSettings(model="medical:latest"), None),
        (ModelSettings(model="medical@production"), None),
        (ModelSettings(model="medical"), None),
    ],
)
def test_a_version_that_cannot_change_has_a_number(
    settings: ModelSettings, version: str | None
) -> None:
    assert fixed_version(settings) == version
