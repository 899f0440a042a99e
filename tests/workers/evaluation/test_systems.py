from __future__ import annotations

from pathlib import Path

import pytest

from deploy.demo import MODELS
from schemas.settings import ModelSettings
from tests.workers.evaluation import scripted
from workers.evaluation.naming import as_systems
from workers.evaluation.systems import ModelSystem


def test_files_folders_names_and_systems(tmp_path: Path) -> None:
    version = tmp_path / "medical" / "2"
    version.mkdir(parents=True)
    (version / "model.nemo").symlink_to(MODELS / "medical.nemo")
    (version / "card.json").symlink_to(MODELS / "medical.json")
    settings = {"legal": ModelSettings(path=str(MODELS / "legal.nemo"))}
    file = MODELS / "general.nemo"
    named = [file, f"mine={file}", version, "legal", scripted.system("own")]
    found = as_systems(named, settings)
    assert [each.name for each in found] == ["general", "mine", "medical:2", "legal", "own"]
    domains = [each.domain for each in found if isinstance(each, ModelSystem)]
    assert domains == ["general", "general", "medical", "legal"]


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        (["none.nemo"], "none.nemo: no such model file"),
        (["typo"], "the settings have legal"),
        ([MODELS / "general.nemo"] * 2, "two models are called general; name them: NAME=PATH"),
        ([], "no model"),
    ],
)
def test_what_cannot_be_found_is_told(named: list, reason: str) -> None:
    settings = {"legal": ModelSettings(path=str(MODELS / "legal.nemo"))}
    with pytest.raises(ValueError, match=reason):
        as_systems(named, settings)


def test_the_same_bytes_are_the_same_model_wherever_they_lie(tmp_path: Path) -> None:
    copy = tmp_path / "copy.nemo"
    copy.write_bytes((MODELS / "general.nemo").read_bytes())
    ours, same, other = as_systems([MODELS / "general.nemo", copy, MODELS / "legal.nemo"])
    assert ours.identity == same.identity != other.identity
