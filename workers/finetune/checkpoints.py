"""Checkpoints of a training as plain data: whoever wrote one, going on from it runs no code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO

from workers.finetune.versions import RunError


class PlainCheckpoints(TorchCheckpointIO):
    """Lightning's checkpoints, without what it needs to make a model of one: ours is there."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write what of `checkpoint` is plain data."""
        plain = {key: each for key, each in checkpoint.items() if not key.startswith("hparams_")}
        plain.pop("hyper_parameters", None)
        super().save_checkpoint(plain, path, storage_options)

    def load_checkpoint(self, path: Any, map_location: Any = None) -> dict[str, Any]:
        """The checkpoint in a file.

        Raises:
            RunError: it cannot be read, or holds more than data.
        """
        try:
            loaded: dict[str, Any] = torch.load(path, map_location=map_location, weights_only=True)
        except Exception as error:  # what a damaged or hostile file makes torch raise
            folder = Path(path).parent
            raise RunError(
                f"{path} is no checkpoint that is safe to go on from; remove {folder} to start anew"
            ) from error
        return loaded
