"""Checkpoints of a training as data: whoever wrote one, going on from it runs no code of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO

from workers.finetune.unfinished import RunError

#: What a training goes on from. Lightning keeps more, and believes it: it removes the file that a
#: checkpoint calls the last one, by any path and through any file system.
_KEPT = frozenset(
    {
        "callbacks",
        "epoch",
        "global_step",
        "loops",
        "lr_schedulers",
        "MixedPrecision",
        "optimizer_states",
        "pytorch-lightning_version",
        "state_dict",
    }
)
#: Callbacks of ours, the only ones whose state is kept.
_CALLBACKS = frozenset({"LearningRate", "Rounds"})
#: What AdamW keeps of a parameter.
_MOMENTS = frozenset({"step", "exp_avg", "exp_avg_sq"})
_RATES = ("lr", "eps", "weight_decay")


class PlainCheckpoints(TorchCheckpointIO):
    """Lightning's checkpoints, reduced to what the training of a model goes on from.

    Args:
        model: what is trained, by AdamW.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self._model = model

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write the parts of `checkpoint` that are plain data."""
        super().save_checkpoint(_kept(checkpoint), path, storage_options)

    def load_checkpoint(self, path: Any, map_location: Any = None) -> dict[str, Any]:
        """The checkpoint in a file.

        Raises:
            RunError: it cannot be read, holds more than data, or is not of this model.
        """
        try:
            loaded = _kept(torch.load(path, map_location=map_location, weights_only=True))
            parameters = list(self._model.parameters())
            for state in loaded["optimizer_states"]:
                state["param_groups"] = [_options(state["param_groups"], len(parameters))]
                _check_moments(state["state"], parameters)
        except Exception as error:  # what a damaged or hostile file makes torch raise
            folder = Path(path).parent
            raise RunError(
                f"{path} is not a checkpoint of this training; remove {folder} to start again"
            ) from error
        return loaded


def _kept(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: each for key, each in checkpoint.items() if key in _KEPT}
    callbacks = kept.get("callbacks", {})
    kept["callbacks"] = {key: each for key, each in callbacks.items() if key in _CALLBACKS}
    return kept


def _options(groups: Sequence[Mapping[str, Any]], parameters: int) -> dict[str, Any]:
    """The options of the optimizer: rates from the file, and torch's defaults for the others.

    With others, fused kernels say, it would take the moments for another layout in memory.
    """
    (saved,) = groups
    if saved["params"] != list(range(parameters)):
        raise ValueError("other parameters")
    own = torch.optim.AdamW([torch.zeros(1)]).param_groups[0]
    rates = {key: float(saved[key]) for key in _RATES}
    betas = tuple(float(each) for each in saved["betas"])
    return own | rates | {"betas": betas, "params": saved["params"]}


def _check_moments(
    state: Mapping[int, Mapping[str, torch.Tensor]], parameters: Sequence[torch.Tensor]
) -> None:
    for index, moments in state.items():
        if not moments.keys() <= _MOMENTS:
            raise ValueError("not a state of AdamW")
        for name, each in moments.items():
            shape = torch.Size() if name == "step" else parameters[index].shape
            if each.shape != shape or not each.is_floating_point() or each.layout != torch.strided:
                raise ValueError(f"{name} of parameter {index} has another shape")
