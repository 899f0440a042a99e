from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from schemas.model_card import ModelCard
from schemas.model_reference import parse_reference
from serve_app.registry.errors import RegistryFaultError, UnknownModelError
from serve_app.registry.local_copy import local_folder, version_faults
from serve_app.registry.local_store import LocalStore
from serve_app.registry.registry import ALIASES, ROLLOUTS, Registry
from tests.serve_app.registry.conftest import Register

CARD = ModelCard(name="", version="", domain="d", made="2026-01-01T00:00:00+00:00")


def test_versions_are_numbered_and_described(registry: Registry, register: Register) -> None:
    assert registry.names() == []
    assert registry.versions("medical") == []
    first = register(content=b"one", domain="hospital")
    second = register(content=b"two")
    register("legal")
    assert (first.version, second.version) == ("1", "2")
    assert registry.names() == ["legal", "medical"]
    assert registry.versions("medical") == [1, 2]
    card = registry.card("medical", 1)
    assert card == first
    assert card.domain == "hospital"
    assert card.sha256 == card.files["model.nemo"].sha256 == hashlib.sha256(b"one").hexdigest()
    assert card.bytes == card.files["model.nemo"].bytes == 3
    assert card.registered_by


def test_the_same_files_are_the_same_version(registry: Registry, register: Register) -> None:
    register(content=b"one")
    register(content=b"two")
    assert register(content=b"one").version == "1"
    assert registry.versions("medical") == [1, 2]


def test_references(registry: Registry, register: Register) -> None:
    register(made="2026-01-01T00:00:00+00:00")
    register(made="2026-03-01T00:00:00+00:00")
    register(made="2026-02-01T00:00:00+00:00")
    registry.promote("medical", 1, "production")
    registry.promote("medical", 3, "candidate")
    found = {
        text: registry.resolve(parse_reference(text)).version
        for text in (
            "medical",
            "medical@production",
            "medical@candidate",
            "medical:2",
            "medical:latest",
            "medical:newest",
        )
    }
    assert found == {
        "medical": "1",
        "medical@production": "1",
        "medical@candidate": "3",
        "medical:2": "2",
        "medical:latest": "3",
        "medical:newest": "2",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("medical:9", "medical has no version 9; it has 1"),
        ("medical@stable", "medical has no alias `stable`; it has none; `chorus models"),
        ("medcal", "has no model `medcal`; did you mean `medical`?"),
        ("medcal:latest", "has no model `medcal`"),
    ],
)
def test_what_there_is_not_is_an_error_that_says_what_there_is(
    registry: Registry, register: Register, text: str, said: str
) -> None:
    register()
    with pytest.raises(UnknownModelError) as caught:
        registry.resolve(parse_reference(text))
    assert said in str(caught.value)


@pytest.mark.parametrize("path", ["../evil", "/etc/passwd", "a/../../b", "model.json", "a\\b"])
def test_files_stay_in_their_version(registry: Registry, tmp_path: Path, path: str) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"x")
    with pytest.raises(RegistryFaultError):
        registry.register("medical", {path: file}, CARD)
    for name in (ALIASES, ROLLOUTS):
        with pytest.raises(RegistryFaultError, match=f"cannot be called `{name}`"):
            registry.register(name, {"model.nemo": file}, CARD)
    with pytest.raises(RegistryFaultError, match="no file"):
        registry.register("medical", {}, CARD)
    assert registry.store.keys("") == []


@pytest.mark.parametrize("name", ["../x", "A", "a b", "", "..", "a/b", "a@b", "a:1"])
def test_names_are_names(registry: Registry, register: Register, name: str) -> None:
    register()
    before = registry.store.keys("")
    with pytest.raises(ValueError, match="names no model"):
        registry.promote("medical", 1, name)
    if name not in ("a@b", "a:1"):
        with pytest.raises(ValueError, match="names no model"):
            register(name)
    assert registry.store.keys("") == before


def test_files_may_be_moved_there(registry: Registry, tmp_path: Path) -> None:
    for name in ("model.nemo", "progress.jsonl"):
        (tmp_path / name).write_text(name)
    files = {name: tmp_path / name for name in ("model.nemo", "progress.jsonl")}
    card = registry.register("medical", files, CARD, move=True)
    assert not any(path.exists() for path in files.values())
    assert card.sha256 == card.files["model.nemo"].sha256
    folder = local_folder(registry.store, card, tmp_path / "cache")
    assert (folder / "progress.jsonl").read_text() == "progress.jsonl"


def test_a_model_of_several_files_has_a_digest_of_all(registry: Registry, tmp_path: Path) -> None:
    def card(content: str) -> ModelCard:
        for name in ("config.json", "weights"):
            (tmp_path / name).write_text(content + name)
        files = {f"deep/{name}": tmp_path / name for name in ("config.json", "weights")}
        return registry.register("whisper", files, CARD)

    first, second = card("a"), card("b")
    assert first.sha256 != second.sha256
    assert len(first.sha256) == 64
    assert registry.versions("whisper") == [1, 2]


def test_a_version_is_not_there_before_its_card_is(registry: Registry, register: Register) -> None:
    register()
    registry.store.create("medical/2/claim.json", b"{}")
    registry.store.create("medical/2/model.nemo", b"half")
    registry.store.create("new/1/model.nemo", b"half")
    assert registry.versions("medical") == [1]
    assert registry.names() == ["medical"]
    with pytest.raises(UnknownModelError, match="medical has no version 2; it has 1"):
        registry.card("medical", 2)
    assert register().version == "3"


def test_a_card_that_cannot_be_read_names_its_version(registry: Registry) -> None:
    registry.store.create("medical/1/model.json", b"{")
    with pytest.raises(RegistryFaultError, match="medical:1"):
        registry.card("medical", 1)


def test_a_version_that_was_damaged_is_found(
    registry: Registry, register: Register, tmp_path: Path
) -> None:
    card = register(content=b"good")
    assert version_faults(registry.store, card) == []
    replaced = tmp_path / "replaced"
    for content, said in ((b"evil", "another content"), (b"longer", "6 bytes, not 4")):
        replaced.write_bytes(content)
        registry.store.remove("medical/1/model.nemo")
        registry.store.add("medical/1/model.nemo", replaced)
        [fault] = version_faults(registry.store, card)
        assert said in fault
        with pytest.raises(RegistryFaultError, match=said):
            local_folder(registry.store, card, tmp_path / "cache")
        assert not list((tmp_path / "cache/medical").iterdir())
    registry.store.remove("medical/1/model.nemo")
    [fault] = version_faults(registry.store, card)
    assert "model.nemo" in fault


def test_a_local_copy_is_made_once(registry: Registry, register: Register, tmp_path: Path) -> None:
    card = register(content=b"good")
    folder = local_folder(registry.store, card, tmp_path / "cache")
    assert (folder / "model.nemo").read_bytes() == b"good"
    registry.store.remove("medical/1/model.nemo")
    assert local_folder(registry.store, card, tmp_path / "cache") == folder


def test_what_is_on_this_machine_is_read_where_it_is(register: Register, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "here")
    file = tmp_path / "file"
    file.write_bytes(b"x")
    card = Registry(store).register("medical", {"model.nemo": file}, CARD)
    assert local_folder(store, card) == tmp_path / "here/medical/1"
