from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.scenarios.hostile_archives import Mark
from workers.finetune.checkpoints import PlainCheckpoints
from workers.finetune.versions import RunError


def test_what_is_plain_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "last.ckpt"
    given: dict[str, Any] = {
        "epoch": 3,
        "state_dict": {"weight": torch.ones(2)},
        "callbacks": {"Rounds": {"best": 0.5}},
        "hyper_parameters": {"cfg": tmp_path},
        "hparams_type": dict,
    }
    PlainCheckpoints().save_checkpoint(given, file)
    found = PlainCheckpoints().load_checkpoint(file)
    assert found.keys() == {"epoch", "state_dict", "callbacks"}
    assert found["state_dict"]["weight"].equal(torch.ones(2))


@pytest.mark.parametrize("old", [True, False])
def test_code_in_a_checkpoint_does_not_run(tmp_path: Path, old: bool) -> None:
    file, mark = tmp_path / "last.ckpt", tmp_path / "mark"
    torch.save({"epoch": Mark(mark)}, file, _use_new_zipfile_serialization=not old)
    with pytest.raises(RunError, match=rf"last\.ckpt is no checkpoint .* remove {tmp_path}"):
        PlainCheckpoints().load_checkpoint(file)
    assert not mark.exists()
    torch.load(file, weights_only=False)
    assert mark.exists(), "the code is none"


def test_a_damaged_checkpoint_says_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "last.ckpt"
    file.write_bytes(b"x" * 100)
    with pytest.raises(RunError, match="remove"):
        PlainCheckpoints().load_checkpoint(file)
