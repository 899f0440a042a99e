"""`chorus init`: settings to start from are valid, and route by domain."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.demo import MODELS
from schemas.settings import Settings, load_settings
from workers import exit_codes
from workers.cli import app


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def add(folder: Path, name: str, card: str | None = None) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    if card is not None:
        is_version = path.name == "model.nemo"
        where = path.with_name("model.json") if is_version else path.with_suffix(".json")
        shutil.copy(MODELS / f"{card}.json", where)


def written(*arguments: str) -> Settings:
    done = CliRunner().invoke(app, ["init", "models", *arguments])
    assert done.exit_code == 0, done.output
    return load_settings(Path("chorus.yaml"))


def test_each_model_has_the_records_of_its_domain(folder: Path) -> None:
    add(folder, "base.nemo", card="general")
    add(folder, "deep/Ward A.nemo", card="medical")
    add(folder, "court.nemo")
    settings = written()
    assert list(settings.models) == ["base", "court", "ward-a"]
    assert settings.models["ward-a"].path == str(folder / "deep" / "Ward A.nemo")
    assert settings.routing.default == "base"
    rules = {rule.target: rule.all[0].equals for rule in settings.routing.rules}
    assert rules == {"court": "court", "ward-a": "medical"}
    text = Path("chorus.yaml").read_text()
    assert "general, WER 3.8% on its validation data" in text
    assert "# `chorus check` finds what is wrong." in text


def test_of_versions_the_newest_is_named_by_its_folder(folder: Path) -> None:
    for version in ("2", "10", "11.unfinished"):
        add(folder, f"medical/{version}/model.nemo", card="medical")
    settings = written()
    assert list(settings.models) == ["medical"]
    assert settings.models["medical"].path == str(folder / "medical" / "10" / "model.nemo")
    assert settings.routing.rules == []


def test_names_that_yaml_or_the_settings_would_misread(folder: Path) -> None:
    names = ["1.nemo", "true.nemo", "auto.nemo", "a b.nemo", "A-b.nemo", "-.nemo", "ü.nemo"]
    for name in names:
        add(folder, name)
    assert len(written().models) == len(names)


def test_what_exists_is_kept_and_what_does_not_is_named(folder: Path) -> None:
    run = CliRunner().invoke
    empty = run(app, ["init", "models"])
    assert empty.exit_code == exit_codes.SETTINGS
    assert "models: has no .nemo file" in empty.stderr
    add(folder, "base.nemo")
    for arguments, said in (
        (["init", "model"], "model: there is no such folder"),
        (["init", "models", "--audio", "speech"], "speech: there is no such folder"),
        (["init", "models", "-o", "no/where.yaml"], "No such file or directory"),
    ):
        failed = run(app, arguments)
        assert failed.exit_code == exit_codes.SETTINGS
        assert said in failed.stderr
    Path("chorus.yaml").write_text("mine")
    again = run(app, ["init", "models"])
    assert again.exit_code == exit_codes.SETTINGS
    assert "chorus.yaml: exists" in again.stderr
    assert Path("chorus.yaml").read_text() == "mine"
