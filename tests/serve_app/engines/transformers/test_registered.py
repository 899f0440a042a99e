"""Models of Transformers in the registry: registered from a folder, and served from there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from schemas.settings import ModelSettings, RegistrySettings
from serve_app.engines.errors import EngineError
from serve_app.engines.load import load_engine
from serve_app.engines.trial import try_model
from serve_app.registry.identity import model_identity
from serve_app.registry.source import VersionSource
from tests.serve_app.engines.transformers.conftest import EngineOf, FolderOf
from tests.serve_app.engines.transformers.test_engine import CLIPS
from tests.workers.cli.shell import chorus
from workers.manifests.costs import cost_of
from workers.models.sources import find_model


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wav2vec2", "sharded"])
def test_a_folder_is_registered_and_served(
    folder_of: FolderOf, engine_of: EngineOf, tmp_path: Path, kind: str
) -> None:
    folder = Path(shutil.copytree(folder_of(kind), tmp_path / "model"))
    (folder / "README.md").write_text("not a part of the model")
    url = str(tmp_path / "registry")
    register = ["models", "register", "calls", str(folder), "--engine", "transformers"]
    done = chorus(*register, "--registry", url, "--json")
    assert done.returncode == 0, done.stderr
    card = json.loads(done.stdout)
    assert card["engine"] == "transformers"
    assert card["model_class"] == "wav2vec2"
    assert "README.md" not in card["files"]
    expected = engine_of(kind)
    assert card["parameters"] == expected.parameters
    assert card["sha256"] == expected.sha256

    source = VersionSource(
        ModelSettings(engine="transformers", model="calls:1", threads=1), RegistrySettings(url=url)
    )
    version = source.find()
    assert version.number == "1"
    served = load_engine(version.settings)
    assert served.sha256 == expected.sha256
    assert served.transcribe(CLIPS[:2], []) == expected.transcribe(CLIPS[:2])


def test_its_files_are_checked_before_it_is_registered(copy_of: FolderOf, tmp_path: Path) -> None:
    folder = copy_of("wav2vec2")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(EngineError, match="can run code"):
        find_model(str(folder), tmp_path, engine="transformers")
    with pytest.raises(EngineError, match="is not a folder"):
        find_model(str(folder / "config.json"), tmp_path, engine="transformers")


def test_it_is_tried_in_a_process_of_its_own(folder_of: FolderOf) -> None:
    report = try_model(ModelSettings(engine="transformers", path=str(folder_of("wav2vec2"))))
    assert report.model_class == "Wav2Vec2ForCTC"
    assert report.sample_rate == 16_000


def test_what_it_computes_is_known_without_loading_it(folder_of: FolderOf) -> None:
    computed = [
        cost_of(ModelSettings(engine="transformers", path=str(folder_of(kind))))(2.0)
        for kind in ("whisper", "wav2vec2")
    ]
    assert computed == [30.0, 2.0]


def test_its_identity_follows_from_its_files(copy_of: FolderOf) -> None:
    folder = copy_of("wav2vec2")
    settings = ModelSettings(engine="transformers", path=str(folder))
    before = model_identity(settings)
    assert model_identity(settings) == before
    (folder / "vocab.json").write_text("{}")
    assert model_identity(settings) != before
