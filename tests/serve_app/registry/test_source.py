from __future__ import annotations

from pathlib import Path

import pytest

from schemas.settings import ModelSettings, RegistrySettings
from serve_app.registry.local_store import LocalStore
from serve_app.registry.source import VersionSource, fixed_version
from tests.versioned import ENGINE, promote, register


@pytest.mark.parametrize(
    ("settings", "version"),
    [
        (ModelSettings(path="/models/medical/12/model.nemo"), "12"),
        (ModelSettings(path="/models/medical.nemo"), None),
        (ModelSettings(engine="transformers", path="/models/medical/12"), "12"),
        (ModelSettings(engine="transformers", path="/models/12/whisper"), None),
        (ModelSettings(engine="faster-whisper", path="/models/medical/12"), "12"),
        (ModelSettings(engine="faster-whisper", path="/models/medical"), None),
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


def test_a_version_and_the_place_where_it_is_named_belong_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in ("one", "two"):
        register(tmp_path / "registry", "m", text)
    promote(tmp_path / "registry", "m", "1")
    read, moved = LocalStore.read, False

    def moving(store: LocalStore, key: str) -> bytes:
        """Read a file, and let the alias be moved right after it was looked at."""
        nonlocal moved
        content = read(store, key)
        if key.startswith("aliases/") and not moved:
            moved = True
            promote(tmp_path / "registry", "m", "2")
        return content

    monkeypatch.setattr(LocalStore, "read", moving)
    settings = ModelSettings(engine=ENGINE, model="m@production")
    source = VersionSource(settings, RegistrySettings(url=str(tmp_path / "registry")))
    version = source.find()
    assert (version.number, version.place) == ("1", "1 by move 1")
    assert source.place() == "2 by move 2"
