"""A Whisper model from the settings and from the registry, through the doors that people use."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from schemas.settings import ModelSettings, RegistrySettings, load_settings
from serve_app.engines.errors import EngineError
from serve_app.engines.load import load_engine
from serve_app.registry.identity import transcription_digest
from serve_app.registry.source import VersionSource
from tests.workers.cli.shell import chorus
from workers import exit_codes

SETTINGS = """\
models: {whisper: {engine: faster-whisper, path: tiny, options: {beam_size: 1}}}
routing: {default: whisper}
audio: {roots: ['.']}
"""


@pytest.fixture
def settings_file(whisper_folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(whisper_folder, tmp_path / "tiny")
    (tmp_path / "tiny" / "README.md").write_text("a model")
    path = tmp_path / "chorus.yaml"
    path.write_text(SETTINGS)
    return path


def test_the_path_of_a_model_is_its_folder(settings_file: Path) -> None:
    assert chorus("check", settings_file).returncode == 0
    settings = load_settings(settings_file)
    model = settings.models["whisper"]
    assert model.path == str(settings_file.parent / "tiny")
    before = transcription_digest(settings)
    (settings_file.parent / "tiny" / "config.json").write_text("{}")
    assert transcription_digest(settings) != before


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("beam_size", "beam_sice", "models.whisper.options: options.beam_sice: no such key"),
        ("path: tiny, ", "", "models.whisper: give one of `path` (the folder of a model)"),
        ("path: tiny", "path: tinny", "models.whisper.path: no such folder: tinny"),
        ("path: tiny", "path: tiny, pretrained: x", "whisper.pretrained: names a NeMo model"),
    ],
)
def test_check_names_what_is_wrong(settings_file: Path, old: str, new: str, said: str) -> None:
    settings_file.write_text(SETTINGS.replace(old, new))
    done = chorus("check", settings_file)
    assert done.returncode == exit_codes.SETTINGS
    assert said in done.stderr


def test_a_model_that_ctranslate2_cannot_read_is_one_error(settings_file: Path) -> None:
    folder = settings_file.parent / "tiny"
    with (folder / "model.bin").open("r+b") as file:
        file.truncate(1 << 20)
    with pytest.raises(EngineError, match=r"tiny: RuntimeError: Variable .* invalid payload"):
        load_engine(ModelSettings(engine="faster-whisper", path=str(folder)))


@pytest.mark.slow
def test_a_model_is_registered_with_its_own_files_and_served_from_there(
    settings_file: Path, tmp_path: Path
) -> None:
    source, registry = settings_file.parent / "tiny", str(tmp_path / "registry")
    options = ("--engine", "faster-whisper", "--registry", registry)
    done = chorus("models", "register", "ward", source, *options, "--json")
    assert done.returncode == 0, done.stderr
    card = json.loads(done.stdout)
    assert sorted(card["files"]) == [
        "config.json",
        "model.bin",
        "tokenizer.json",
        "vocabulary.txt",
    ]
    assert (card["engine"], card["model_class"]) == ("faster-whisper", "Whisper")
    assert chorus("models", "promote", "ward:1", "--registry", registry).returncode == 0
    model = ModelSettings(engine="faster-whisper", model="ward@production")
    version = VersionSource(model, RegistrySettings(url=registry)).find()
    assert version.number == "1"
    engine = load_engine(version.settings)
    assert engine.sha256 == card["sha256"]
    pinned = ModelSettings(engine="faster-whisper", path=str(source), sha256="0" * 64)
    with pytest.raises(EngineError, match=f"have the SHA-256 digest {engine.sha256}"):
        load_engine(pinned)


def test_a_folder_without_its_weights_is_not_registered(
    settings_file: Path, tmp_path: Path
) -> None:
    source = settings_file.parent / "tiny"
    (source / "model.bin").unlink()
    options = ("--engine", "faster-whisper", "--registry", str(tmp_path / "registry"))
    done = chorus("models", "register", "ward", source, *options)
    assert done.returncode == exit_codes.SETTINGS
    assert "model.bin is missing" in done.stderr
    assert not (tmp_path / "registry").exists()
