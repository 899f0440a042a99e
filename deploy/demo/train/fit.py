"""The training core: a NeMo CTC model, manifests, a budget of steps; resumes where it stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from nemo.collections.asr.models import EncDecCTCModelBPE
from omegaconf import open_dict
from torch.utils.data import DataLoader

from deploy.demo.train.data import BatchDataset, BatchStream, Source, read_clips
from deploy.demo.train.evaluate import word_error_rate

CHECKPOINT = "last.ckpt"


@dataclass(frozen=True)
class Hyperparameters:
    """How to train.

    Attributes:
        steps: optimizer steps in all.
        learning_rate: the peak, reached after `warm_up` of the schedule; then cosine to 1e-5.
        schedule_steps: length of the learning rate's schedule; None means `steps`. A model that
            others go on from may stop before its schedule ends: annealing it would be for nothing.
        batch_seconds: padded seconds of audio in a batch.
        round_steps: steps between checkpoints, each with a WER on the validation manifest.
        short_steps: the first steps see short clips only, without SpecAugment. For fresh models.
        seed: of the data order and the augmentation.
    """

    steps: int
    learning_rate: float
    schedule_steps: int | None = None
    warm_up: float = 0.06
    weight_decay: float = 1e-3
    gradient_clip: float = 5.0
    batch_seconds: float = 48.0
    round_steps: int = 250
    short_steps: int = 0
    seed: int = 1


def fit(
    model: EncDecCTCModelBPE,
    sources: Sequence[Source],
    validation: Path,
    hyper: Hyperparameters,
    folder: Path,
) -> None:
    """Train `model` in place; blocks until all steps are done.

    Every `hyper.round_steps` a checkpoint replaces the last one in `folder` and a line of
    progress is appended to `progress.jsonl` there. Where `folder` holds a checkpoint, training
    goes on from it with the data order that it would have had.

    Args:
        sources: the training data; the first one makes up a pass.
        validation: manifest whose WER is reported; it has no influence on the training.

    Raises:
        ValueError: the checkpoint in `folder` is of a run with other data or hyper-parameters.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, sources, hyper)
    torch.manual_seed(hyper.seed)
    with open_dict(model.cfg):
        model.cfg.optim = _optimizer_config(hyper)
    trainer = Trainer(
        accelerator="auto",
        devices=1,
        max_steps=hyper.steps,
        gradient_clip_val=hyper.gradient_clip,
        callbacks=[
            ModelCheckpoint(
                folder,
                filename=Path(CHECKPOINT).stem,
                save_on_train_epoch_end=True,
                enable_version_counter=False,
            ),
            _Augmentation(hyper.short_steps, hyper.seed),
            _Progress(folder / "progress.jsonl", validation),
        ],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    model.set_trainer(trainer)
    checkpoint = folder / CHECKPOINT
    resume = str(checkpoint) if checkpoint.exists() else None
    trainer.fit(model, train_dataloaders=_loader(model, sources, hyper), ckpt_path=resume)


def _claim(folder: Path, sources: Sequence[Source], hyper: Hyperparameters) -> None:
    """Write down whose run `folder` holds, so that another does not go on from its checkpoint."""
    run = {
        "hyperparameters": asdict(hyper),
        "sources": [[str(source.manifest), source.share, source.limit] for source in sources],
    }
    file = folder / "run.json"
    if file.exists() and json.loads(file.read_text()) != run:
        raise ValueError(f"{folder} holds a run with other settings: remove it to train anew")
    file.write_text(json.dumps(run))


def _loader(
    model: EncDecCTCModelBPE, sources: Sequence[Source], hyper: Hyperparameters
) -> DataLoader[Any]:
    clips = [read_clips(source.manifest, source.limit) for source in sources]
    stream = BatchStream(
        [[clip.duration for clip in part] for part in clips],
        [source.share for source in sources],
        seed=hyper.seed,
        batch_seconds=hyper.batch_seconds,
        round_steps=hyper.round_steps,
        short_steps=hyper.short_steps,
    )
    flat = [clip for part in clips for clip in part]
    tokens = [model.tokenizer.text_to_ids(clip.text) for clip in flat]
    return DataLoader(BatchDataset(flat, tokens), sampler=stream, batch_size=None)


def _optimizer_config(hyper: Hyperparameters) -> dict[str, Any]:
    schedule = hyper.schedule_steps or hyper.steps
    return {
        "name": "adamw",
        "lr": hyper.learning_rate,
        "betas": [0.9, 0.98],
        "weight_decay": hyper.weight_decay,
        "sched": {
            "name": "CosineAnnealing",
            "warmup_steps": int(hyper.warm_up * schedule),
            "max_steps": schedule,
            "min_lr": 1e-5,
        },
    }


class _Augmentation(Callback):
    """SpecAugment off for the first steps, and after a resume the same as without a break."""

    def __init__(self, off_steps: int, seed: int) -> None:
        self._off_steps = off_steps
        self._seed = seed
        self._masks: Any = None

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self._masks = module.spec_augmentation

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        torch.manual_seed(self._seed + trainer.current_epoch)

    def on_train_batch_start(
        self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        module.spec_augmentation = None if trainer.global_step < self._off_steps else self._masks

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        module.spec_augmentation = self._masks


class _Progress(Callback):
    """A line of JSON a round: step, mean loss, learning rate, WER, seconds of the round."""

    def __init__(self, file: Path, validation: Path) -> None:
        self._file = file
        self._validation = read_clips(validation)
        self._losses: list[float] = []
        self._since = 0.0

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        self._losses, self._since = [], time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._losses.append(float(outputs["loss"]))

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        if not self._losses:
            return  # a resumed run ends the round of its checkpoint once more
        seconds = time.monotonic() - self._since
        line = {
            "step": trainer.global_step,
            "loss": round(sum(self._losses) / len(self._losses), 4),
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "validation_wer": round(word_error_rate(module, self._validation), 2),
            "seconds": round(seconds, 1),
        }
        with self._file.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)
