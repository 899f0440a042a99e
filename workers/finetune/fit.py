"""The training core: a NeMo model, utterances, a budget; resumes where it stopped."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy
from omegaconf import open_dict
from torch.utils.data import DataLoader

from workers.finetune.batches import BatchDataset, Source, batch_stream
from workers.finetune.budget import Budget
from workers.finetune.callbacks import BEST, Fitted, LearningRate, Rounds, SpecAugment, Watcher
from workers.finetune.checkpoints import PlainCheckpoints
from workers.finetune.recipe import Recipe
from workers.finetune.vocabulary import Vocabulary
from workers.manifests.speech import Utterance

CHECKPOINT = "last.ckpt"

#: Processes that read ahead for a GPU. A CPU has enough to do.
_GPU_READERS = 8


def fit(
    model: Any,
    sources: Sequence[Source],
    validation: Sequence[Utterance],
    budget: Budget,
    recipe: Recipe,
    folder: Path,
    *,
    watcher: Watcher | None = None,
) -> Fitted:
    """Train `model` in place; blocks until the budget is used up or patience is.

    After each round a checkpoint replaces the last one in `folder`, and a line of progress is
    appended to `progress.jsonl` there. Where `folder` holds a checkpoint, training goes on from it
    with the data order that it would have had. At the end the model (that of the first process)
    has the weights of the round with the best WER, the later one of equals.

    Args:
        model: a NeMo CTC or transducer model.
        sources: the training data; the first one makes up a pass. Their texts are in the model's
            alphabet.
        validation: chooses the weights, and ends the training where `recipe.patience` says so.
        budget: how long to train.
        recipe: how to train, and on which devices. With several, Lightning starts this command
            again for each of the others, and each calls this function.
        folder: of the unfinished version.
        watcher: told how the training goes.

    Raises:
        KeyboardInterrupt: after a Ctrl-C; the last checkpoint is there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    with open_dict(model.cfg):
        model.cfg.optim = {
            "name": "adamw",
            "lr": recipe.learning_rate,
            "betas": [0.9, 0.98],
            "weight_decay": recipe.weight_decay,
        }
    rate = LearningRate(budget, recipe)
    rounds = Rounds(folder, validation, recipe.patience, rate, watcher)
    trainer = Trainer(
        accelerator=recipe.accelerator,
        devices=recipe.devices,
        strategy=_strategy(recipe.devices),
        precision=_precision(recipe.precision, recipe.accelerator),
        max_steps=budget.steps or -1,
        max_epochs=-1,
        gradient_clip_val=recipe.gradient_clip,
        callbacks=[
            rate,
            SpecAugment(recipe.short_first, recipe.seed),
            rounds,
            ModelCheckpoint(
                folder,
                filename=Path(CHECKPOINT).stem,
                save_on_train_epoch_end=True,
                enable_version_counter=False,
            ),
        ],
        plugins=PlainCheckpoints(model),
        log_every_n_steps=1 << 40,  # NeMo decodes a training batch each time, for a log
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,  # the stream deals to the processes itself
    )
    model.set_trainer(trainer)
    checkpoint = folder / CHECKPOINT
    loader = _loader(model, sources, recipe, trainer)
    try:
        trainer.fit(model, loader, ckpt_path=str(checkpoint) if checkpoint.exists() else None)
    except SystemExit:  # what Lightning makes of a Ctrl-C
        if trainer.interrupted:
            raise KeyboardInterrupt from None
        raise
    if trainer.is_global_zero:
        model.load_state_dict(torch.load(folder / BEST, map_location="cpu", weights_only=True))
    return rounds.fitted()


def _strategy(devices: int) -> DDPStrategy | str:
    if devices == 1:
        return "auto"
    # all begin with the same weights; and the table of positions is longer in the first process,
    # which has validated on longer clips
    return DDPStrategy(init_sync=False, broadcast_buffers=False)


def _precision(wanted: str, accelerator: str) -> str:
    if wanted != "auto":
        return wanted
    gpu = accelerator != "cpu" and torch.cuda.is_available()
    return "bf16-mixed" if gpu and torch.cuda.is_bf16_supported() else "32-true"


def _loader(
    model: Any, sources: Sequence[Source], recipe: Recipe, trainer: Trainer
) -> DataLoader[Any]:
    utterances = [each for source in sources for each in source.utterances]
    vocabulary = Vocabulary(model)
    tokens = [vocabulary.encode(each.text) for each in utterances]
    rate = int(model.cfg.sample_rate)
    data = BatchDataset(utterances, tokens, rate, recipe)
    on_gpu = type(trainer.accelerator).__name__ == "CUDAAccelerator"
    readers = min(_GPU_READERS, (os.cpu_count() or 2) - 1) if on_gpu else 0
    stream = batch_stream(sources, recipe)
    return DataLoader(data, sampler=stream, batch_size=None, num_workers=readers)
