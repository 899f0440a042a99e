from __future__ import annotations

from pathlib import Path

import pytest

from deploy.demo import MODELS
from schemas.settings import ModelSettings
from tests.workers.evaluation import scripted
from workers.evaluation.systems.base import ModelSystem, System
from workers.evaluation.systems.naming import as_systems


def test_files_folders_names_and_systems(tmp_path: Path) -> None:
    version = tmp_path / "medical" / "2"
    version.mkdir(parents=True)
    (version / "model.nemo").symlink_to(MODELS / "medical.nemo")
    (version / "model.json").symlink_to(MODELS / "medical.json")
    settings = {"legal": ModelSettings(path=str(MODELS / "legal.nemo"))}
    file = MODELS / "general.nemo"
    named: list[System | str | Path] = [
        file,
        f"mine={file}",
        version,
        "legal",
        scripted.system("own"),
    ]
    found = as_systems(named, settings)
    assert [each.name for each in found] == ["general", "mine", "medical:2", "legal", "own"]
    domains = [each.domain for each in found if isinstance(each, ModelSystem)]
    assert domains == ["general", "general", "medical", "legal"]


def test_a_pretrained_model_is_named_by_its_prefix() -> None:
    found = as_systems(["pretrained:nvidia/tiny", "mine=pretrained:stt_en_large"])
    assert [each.name for each in found] == ["tiny", "mine"]
    models = [each.settings.pretrained for each in found if isinstance(each, ModelSystem)]
    assert models == ["nvidia/tiny", "stt_en_large"]
    assert found[0].identity != found[1].identity


def test_a_path_that_exists_is_not_split_at_an_equals_sign(tmp_path: Path) -> None:
    folder = tmp_path / "rate=0.1"
    folder.mkdir()
    model = folder / "best.nemo"
    model.symlink_to(MODELS / "general.nemo")
    found = as_systems([model, f"tuned={model}"])
    assert [each.name for each in found] == ["best", "tuned"]


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        (["none.nemo"], "none.nemo: no such model file"),
        (["typo"], "the settings have legal"),
        (["stt_en_large"], "a pretrained model is named pretrained:NAME"),
        (
            [MODELS / "general.nemo"] * 2,
            "two models have the same name: general; give names with NAME=PATH",
        ),
        ([], "no model"),
    ],
)
def test_what_cannot_be_found_is_told(named: list[System | str | Path], reason: str) -> None:
    settings = {"legal": ModelSettings(path=str(MODELS / "legal.nemo"))}
    with pytest.raises(ValueError, match=reason):
        as_systems(named, settings)


def test_the_same_bytes_are_the_same_model_wherever_they_lie(tmp_path: Path) -> None:
    copy = tmp_path / "copy.nemo"
    copy.write_bytes((MODELS / "general.nemo").read_bytes())
    ours, same, other = as_systems([MODELS / "general.nemo", copy, MODELS / "legal.nemo"])
    assert ours.identity == same.identity != other.identity
