from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.scenarios.hostile_archives import Mark
from workers.finetune.unfinished import RunError

if TYPE_CHECKING:
    from workers.finetune.checkpoints import PlainCheckpoints


pytestmark = pytest.mark.slow  # they import Lightning


def plain_checkpoints(model: torch.nn.Module) -> PlainCheckpoints:
    """Imported here, since Lightning takes seconds."""
    from workers.finetune.checkpoints import PlainCheckpoints

    return PlainCheckpoints(model)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "last.ckpt"


@pytest.fixture
def model() -> torch.nn.Module:
    return torch.nn.Linear(3, 2)


@pytest.fixture
def checkpoint(model: torch.nn.Module) -> dict[str, Any]:
    """As Lightning makes it after a step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, betas=(0.9, 0.98), weight_decay=0.5)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return {
        "epoch": 3,
        "state_dict": model.state_dict(),
        "optimizer_states": [optimizer.state_dict()],
        "callbacks": {
            "Rounds": {"rounds": [0.5]},
            "ModelCheckpoint{'monitor': None}": {"best_model_path": "local:///home"},
        },
        "hyper_parameters": {"cfg": Path()},
        "hparams_type": dict,
    }


def test_what_is_needed_comes_back(
    file: Path, model: torch.nn.Module, checkpoint: dict[str, Any]
) -> None:
    plain_checkpoints(model).save_checkpoint(checkpoint, file)
    found = plain_checkpoints(model).load_checkpoint(file)
    assert found.keys() == {"epoch", "state_dict", "optimizer_states", "callbacks"}
    assert found["callbacks"] == {"Rounds": {"rounds": [0.5]}}
    (saved,), (state,) = checkpoint["optimizer_states"], found["optimizer_states"]
    assert state["param_groups"] == saved["param_groups"]
    for index, moments in saved["state"].items():
        for name, each in moments.items():
            assert state["state"][index][name].equal(each)


def test_what_lightning_would_believe_is_left_out(
    file: Path, model: torch.nn.Module, checkpoint: dict[str, Any]
) -> None:
    del checkpoint["hyper_parameters"], checkpoint["hparams_type"]
    torch.save(checkpoint | {"LightningDataModule": {"x": 1}}, file)
    found = plain_checkpoints(model).load_checkpoint(file)
    assert "best_model_path" not in str(found)
    assert "LightningDataModule" not in found


@pytest.mark.parametrize("old", [True, False])
def test_code_in_a_checkpoint_does_not_run(
    file: Path, model: torch.nn.Module, tmp_path: Path, old: bool
) -> None:
    mark = tmp_path / "mark"
    torch.save({"epoch": Mark(mark)}, file, _use_new_zipfile_serialization=not old)
    with pytest.raises(RunError, match=rf"last\.ckpt is not a checkpoint .* remove {tmp_path}"):
        plain_checkpoints(model).load_checkpoint(file)
    assert not mark.exists()
    torch.load(file, weights_only=False)
    assert mark.exists(), "the code is none"


def set_fused(state: dict[str, Any]) -> None:
    state["param_groups"][0]["fused"] = True


def shorten(state: dict[str, Any]) -> None:
    state["state"][0]["exp_avg"] = torch.zeros(1)


def sparse(state: dict[str, Any]) -> None:
    state["state"][0]["exp_avg"] = torch.zeros(2, 3).to_sparse()


def more(state: dict[str, Any]) -> None:
    state["state"][7] = state["state"][0]


def another(state: dict[str, Any]) -> None:
    state["state"][0]["max_exp_avg_sq"] = torch.zeros(2, 3)


def fewer(state: dict[str, Any]) -> None:
    state["param_groups"][0]["params"] = [0]


def two(state: dict[str, Any]) -> None:
    state["param_groups"] *= 2


@pytest.mark.parametrize("change", [shorten, sparse, more, another, fewer, two])
def test_moments_of_something_else_are_refused(
    file: Path,
    model: torch.nn.Module,
    checkpoint: dict[str, Any],
    change: Callable[[dict[str, Any]], None],
) -> None:
    change(checkpoint["optimizer_states"][0])
    plain_checkpoints(model).save_checkpoint(checkpoint, file)
    with pytest.raises(RunError):
        plain_checkpoints(model).load_checkpoint(file)


def test_the_kernel_is_not_the_file_s_choice(
    file: Path, model: torch.nn.Module, checkpoint: dict[str, Any]
) -> None:
    set_fused(checkpoint["optimizer_states"][0])
    plain_checkpoints(model).save_checkpoint(checkpoint, file)
    (state,) = plain_checkpoints(model).load_checkpoint(file)["optimizer_states"]
    assert not state["param_groups"][0]["fused"]


def test_a_damaged_checkpoint_says_what_to_do(file: Path, model: torch.nn.Module) -> None:
    file.write_bytes(b"x" * 100)
    with pytest.raises(RunError, match="remove"):
        plain_checkpoints(model).load_checkpoint(file)
