"""Versions of a registry as systems, and settings that name them."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.demo import MODELS
from schemas.model_card import ModelCard
from schemas.settings import ModelSettings, RegistrySettings, Settings, load_settings
from serve_app.registry.identity import transcription_digest
from serve_app.registry.local_store import LocalStore
from serve_app.registry.registry import Registry
from workers.evaluation.systems.base import ModelSystem
from workers.evaluation.systems.naming import as_systems


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(LocalStore(tmp_path / "models"))
    for name in ("general", "medical"):
        card = ModelCard(name="", version="", domain=name, made="2026-01-01T00:00:00+00:00")
        registry.register("medical", {"model.nemo": MODELS / f"{name}.nemo"}, card)
    registry.promote("medical", 1, "production")
    return registry


@pytest.fixture
def settings(registry: Registry) -> Settings:
    settings = load_settings(MODELS.parent / "chorus.yaml")
    settings.models["medical"] = ModelSettings(model="medical@production", words=True)
    settings.registry = RegistrySettings(url=registry.store.url)
    return settings


def test_versions_are_named_beside_what_serves(settings: Settings, registry: Registry) -> None:
    serves, candidate, pinned = as_systems(["medical", "medical:2", "x=medical:latest"], settings)
    assert [each.name for each in (serves, candidate, pinned)] == ["medical", "medical:2", "x"]
    cards = [registry.card("medical", version) for version in (1, 2)]
    loaded = [each.load()[1].sha256 for each in (serves, candidate)]
    assert loaded == [card.sha256 for card in cards]
    assert pinned.identity == candidate.identity != serves.identity
    assert isinstance(candidate, ModelSystem)
    assert candidate.settings.words, "set for the model of this name"
    assert candidate.domain == "medical"


def test_without_settings_the_registry_is_the_folder_models(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(registry.store.url).parent)
    [system] = as_systems(["medical@production"])
    assert system.name == "medical:1"
    assert isinstance(system, ModelSystem)
    assert system.settings.path == str(Path("models/medical/1/model.nemo").absolute())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("medical:7", "medical has no version 7; it has 1, 2"),
        ("medcal@production", "did you mean `medical`?"),
        ("medical@x", "medical has no alias `x`"),
        ("a:b:c", "NAME@ALIAS or NAME:VERSION"),
    ],
)
def test_what_there_is_not_is_told(settings: Settings, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("?", r"\?")):
        as_systems([text], settings)


def test_settings_whose_alias_names_nothing_say_which(settings: Settings) -> None:
    settings.models["medical"].model = "medical@x"
    with pytest.raises(ValueError, match=r"models\.medical\.model: medical has no alias `x`"):
        as_systems(["general"], settings)


def test_a_transcription_is_known_by_the_version_that_an_alias_names(
    settings: Settings, registry: Registry
) -> None:
    first = transcription_digest(settings)
    assert transcription_digest(settings) == first
    registry.promote("medical", 2, "production")
    second = transcription_digest(settings)
    assert second != first
    settings.models["medical"].model = "medical:2"
    assert transcription_digest(settings) == second
    settings.models["medical"] = ModelSettings(path=str(MODELS / "medical.nemo"), words=True)
    assert transcription_digest(settings) == second
