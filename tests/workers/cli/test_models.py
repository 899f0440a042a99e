"""`chorus models` on a registry in a folder, with models of the demo."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from deploy.demo import MODELS
from schemas.settings import ModelSettings, RegistrySettings, load_settings
from tests.serve_app.engines.nemo.archives import WEIGHTS, plain_tar, read_members
from tests.versioned import ENGINE
from tests.workers.cli.shell import Shell

Run = Callable[..., str]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    settings = load_settings(MODELS.parent / "chorus.yaml")
    settings.registry = RegistrySettings(url=str(tmp_path / "registry"))
    return Shell(settings, tmp_path)


@pytest.fixture
def registered(shell: Shell) -> Shell:
    for name, option in (("medical", "--language=en"), ("general", "--domain=wards")):
        model = str(MODELS / f"{name}.nemo")
        shell.run("models", "register", "medical", model, option, "--no-trial")
    return shell


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_an_empty_registry_has_a_table_without_rows(shell: Shell) -> None:
    assert rows(shell.run("models", "list")) == [
        ["model", "versions", "latest", "aliases", "domain"]
    ]
    assert shell.json_lines("models", "list") == []


def test_what_is_registered_is_listed_and_shown(registered: Shell) -> None:
    registered.run("models", "promote", "medical:1")
    registered.run("models", "promote", "medical:1", "--alias", "candidate")
    table = rows(registered.run("models", "list"))
    assert table[1] == ["medical", "2", "2", "candidate=1,", "production=1", "wards"]
    versions = rows(registered.run("models", "list", "medical"))
    assert [row[0] for row in versions[1:]] == ["1", "2"]
    assert versions[1][1:3] == ["candidate,", "production"]
    shown = registered.run("models", "show", "medical")
    for part in ("medical:1", "EncDecCTCModelBPE", "1,672,279", "34.94 -> 2.61", "languages"):
        assert part in shown
    [card] = registered.json_lines("models", "show", "medical:2")
    sidecar = json.loads((MODELS / "general.json").read_text())
    assert (card["sha256"], card["base"]) == (sidecar["sha256"], sidecar["base"])
    assert (card["domain"], card["version"]) == ("wards", "2")


def test_the_same_file_is_registered_once(registered: Shell) -> None:
    said = registered.run(
        "models", "register", "medical", str(MODELS / "medical.nemo"), "--no-trial"
    )
    assert said.startswith("medical:1 has these files already")
    assert len(registered.json_lines("models", "list", "medical")) == 2


def test_aliases_move_and_move_back(registered: Shell) -> None:
    assert registered.run("models", "promote", "medical:1") == (
        "medical@production is medical:1 now\n"
    )
    registered.run("models", "promote", "medical:latest", "--alias", "candidate")
    said = registered.run(
        "models", "promote", "medical@candidate", "--why", "better", "--by", "ann"
    )
    assert said == "medical@production is medical:2 now, before medical:1\n"
    said = registered.run("models", "promote", "medical:2")
    assert said.startswith("medical@production is medical:2 already, since ")
    [back] = registered.json_lines("models", "rollback", "medical", "--why", "worse")
    assert (back["version"], back["before"], back["back"]) == ("1", "2", True)
    moves = registered.json_lines("models", "history", "medical")
    assert [(each["version"], each["why"]) for each in moves] == [
        ("1", ""),
        ("2", "better"),
        ("1", "worse"),
    ]
    table = registered.run("models", "history", "medical")
    assert "back to 1" in table
    assert "ann" in table


def test_two_versions_are_compared(registered: Shell) -> None:
    text = registered.run("models", "diff", "medical:1", "medical:2")
    assert ["domain", "medical", "wards"] in rows(text)
    assert "parameters" not in text
    [changed] = registered.json_lines("models", "diff", "medical:1", "medical:2")
    assert changed["domain"] == ["medical", "wards"]
    assert "parameters" not in changed


def test_damage_is_found(registered: Shell, tmp_path: Path) -> None:
    assert registered.run("models", "verify").splitlines() == [
        "medical:1: as registered",
        "medical:2: as registered",
    ]
    with (tmp_path / "registry/medical/2/model.nemo").open("r+b") as file:
        file.write(b"x")
    said = registered.run("models", "verify", code=1)
    assert "1 version is not as registered" in said
    [found] = registered.json_lines("models", "verify", "medical:1")
    assert found["faults"] == []


def test_what_nothing_names_is_removed_on_request(registered: Shell, tmp_path: Path) -> None:
    assert "0 versions would be removed" in registered.run("models", "gc")
    said = registered.run("models", "gc", "--days", "0").splitlines()
    assert said == ["medical:1  3.3 MiB", "1 version would be removed by --delete, 3.3 MiB"]
    [row] = registered.json_lines("models", "list")[:1]
    kept = registered.json_lines("models", "gc", "--days", "0", "--in-use", row["sha256"])
    assert kept == []
    registered.run("models", "gc", "--days", "0", "--delete")
    assert [each["version"] for each in registered.json_lines("models", "list")] == ["2"]
    assert not (tmp_path / "registry/medical/1/model.nemo").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "medcal"), "did you mean `medical`?"),
        (("show", "medical:7"), "medical has no version 7; it has 1, 2"),
        (("show", "medical@stable"), "medical has no alias `stable`"),
        (("show", "Medical!"), "write NAME, NAME@ALIAS or NAME:VERSION"),
        (("list", "medcal"), "did you mean `medical`?"),
        (("rollback", "medical"), "medical has no alias `production`"),
        (("register", "medical", "/nowhere.nemo"), "/nowhere.nemo: no such file or folder"),
        (("register", "medical@x", __file__), "without an alias or a version"),
        (("register", "medical", __file__), "cannot be read as a .nemo archive"),
        (("register", "new", __file__, "--parent", "medical:9"), "medical has no version 9"),
        (("import", "medical", "/some/file.nemo"), "no model of a hub"),
        (("list", "--registry", "ftp://x"), "neither a path nor a URL with s3"),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    registered: Shell, arguments: tuple[str, ...], said: str
) -> None:
    assert said in registered.run("models", *arguments, code=2)
    assert [each["version"] for each in registered.json_lines("models", "list")] == ["1", "2"]


def test_settings_name_versions_that_are_there(registered: Shell, tmp_path: Path) -> None:
    settings = load_settings(tmp_path / "chorus.yaml")
    settings.models["medical"] = ModelSettings(model="medical@production")
    shell = Shell(settings, tmp_path)
    said = shell.run("check", code=2)
    assert "models.medical.model: medical has no alias `production`" in said
    shell.run("models", "promote", "medical:2")
    assert "valid" in shell.run("check")


def test_a_folder_of_a_version_keeps_its_card(registered: Shell, tmp_path: Path) -> None:
    [made] = registered.json_lines(
        "models",
        "register",
        "copied",
        str(tmp_path / "registry/medical/1"),
        "--parent",
        "medical:1",
    )
    assert (made["name"], made["version"], made["parent"]) == ("copied", "1", "medical:1")
    assert made["validation"]["after"] == 2.61
    assert list(made["files"]) == ["model.nemo"]


def test_files_of_another_engine_are_registered_as_they_are(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "whisper"
    (folder / "deep").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "deep/weights.bin").write_bytes(b"w")
    [made] = shell.json_lines(
        *("models", "register", "--no-trial", "whisper", str(folder)),
        *("--engine", "ours.engines:Whisper"),
    )
    assert list(made["files"]) == ["config.json", "deep/weights.bin"]
    assert made["engine"] == "ours.engines:Whisper"
    empty = tmp_path / "empty"
    empty.mkdir()
    said = shell.run("models", "register", "e", str(empty), "--engine", "ours.engines:E", code=2)
    assert "no files" in said
    assert "has no model.nemo" in shell.run("models", "register", "e", str(empty), code=2)


@pytest.mark.nemo
@pytest.mark.slow
def test_a_model_is_tried_before_it_is_registered(shell: Shell, tmp_path: Path) -> None:
    shell.run("models", "register", "medical", str(MODELS / "medical.nemo"))
    weights = io.BytesIO()
    torch.save({"of.another.model": torch.zeros(1)}, weights)
    members = {**read_members(MODELS / "medical.nemo"), WEIGHTS: weights.getvalue()}
    other = tmp_path / "other.nemo"
    other.write_bytes(plain_tar(members))
    said = shell.run("models", "register", "medical", str(other), code=2)
    assert str(other) in said
    assert [each["version"] for each in shell.json_lines("models", "list")] == ["1"]


def test_an_engine_of_ones_own_is_tried_too(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "text").write_text("hello")
    arguments = ("models", "register", "mine", str(folder), "--engine", ENGINE)
    assert shell.json_lines(*arguments)[0]["engine"] == ENGINE
    (folder / "rejects").write_text("")
    assert "told to raise" in shell.run(*arguments, code=2)


@pytest.mark.parametrize(
    "arguments",
    [
        ("promote", "medical:1", "--alias", "../../x"),
        ("promote", "medical:1", "--alias", ""),
        ("rollback", "medical", "--alias", ".."),
        ("history", "../medical"),
        ("list", ".."),
    ],
)
def test_what_is_no_name_is_refused(
    registered: Shell, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert "is no name: give one of a-z" in registered.run("models", *arguments, code=2)
    assert sorted(tmp_path.rglob("*")) == before


def test_hidden_files_of_a_folder_are_no_part_of_the_model(
    registered: Shell, tmp_path: Path
) -> None:
    folder = tmp_path / "own"
    for name in ("weights", ".cache", ".git/config"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    engine = ("--engine", "tests.versioned:VersionedEngine", "--no-trial", "--json")
    card = json.loads(registered.run("models", "register", "own", str(folder), *engine))
    assert list(card["files"]) == ["weights"]
