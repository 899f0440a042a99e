"""The training core: a NeMo model, utterances, a budget; resumes where it stopped."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy
from omegaconf import open_dict
from torch.utils.data import DataLoader

from workers.finetune.batches import SILENCE_S, BatchDataset, BatchStream
from workers.finetune.budget import Budget, learning_rate
from workers.finetune.scoring import word_errors
from workers.finetune.speech import Utterance
from workers.finetune.vocabulary import Vocabulary

CHECKPOINT = "last.ckpt"
BEST = "best.pt"
PROGRESS = "progress.jsonl"

#: Processes that read ahead for a GPU. A CPU has enough to do.
_GPU_READERS = 8


@dataclass(frozen=True)
class Source:
    """A share of the training data: `share` of the utterances of a pass."""

    utterances: Sequence[Utterance]
    share: float = 1.0


@dataclass(frozen=True)
class Hyperparameters:
    """How to train.

    Attributes:
        learning_rate: the peak, reached after the part `warm_up` of the budget; then a cosine.
        batch_seconds: padded seconds of audio in a batch, for each process.
        round_steps: steps between checkpoints, each with a WER on the validation data.
        patience: stop after so many rounds without a better WER; None trains to the end.
        short_steps: the first steps see short clips only, without SpecAugment. For fresh models.
        speed: the clips are played up to this much faster or slower (0.1 is 10%), which also
            moves pitch and formants: more speakers from few (Ko et al., 2015).
        silence: seconds of silence, at most, that a clip gets at either end. None is right where
            what is to be transcribed is cut as tightly as the training data.
        noise: part of the clips that get white noise at 25-55 dB. Less than all where recordings
            of a narrow band (8 kHz) come clean: noise fills the empty band.
        seed: of the data order and the augmentation.
    """

    learning_rate: float = 1e-3
    warm_up: float = 0.06
    weight_decay: float = 1e-3
    gradient_clip: float = 5.0
    batch_seconds: float = 48.0
    round_steps: int = 250
    patience: int | None = None
    short_steps: int = 0
    speed: float = 0.0
    silence: float = SILENCE_S
    noise: float = 1.0
    seed: int = 1


@dataclass(frozen=True)
class Round:
    """How it went since the last checkpoint.

    Attributes:
        step: optimizer steps so far.
        progress: part of the budget used up, 0 to 1.
        loss: mean of the round.
        learning_rate: the last one.
        wer: on the validation data, in percent, pooled.
        seconds: of training so far, those before a kill too.
    """

    step: int
    progress: float
    loss: float
    learning_rate: float
    wer: float
    seconds: float


@dataclass(frozen=True)
class Fitted:
    """How a training ended: `stopped` is "budget" or "early"; `best` is the round whose weights
    the model has now; `last` is the last one."""

    stopped: str
    best: Round
    last: Round


class RunError(ValueError):
    """A folder holds the unfinished training of something else."""


class Watcher(Protocol):
    """Told how a training goes."""

    def step(self, progress: float, loss: float) -> None:
        """After each step: the part of the budget used up, and the step's loss."""

    def round(self, result: Round) -> None:
        """After each round."""


def fit(
    model: Any,
    sources: Sequence[Source],
    validation: Sequence[Utterance],
    budget: Budget,
    hyper: Hyperparameters,
    folder: Path,
    *,
    devices: int = 1,
    accelerator: str = "auto",
    precision: str = "auto",
    watcher: Watcher | None = None,
) -> Fitted:
    """Train `model` in place; blocks until the budget is used up or patience is.

    After each round a checkpoint replaces the last one in `folder`, and a line of progress is
    appended to `progress.jsonl` there. Where `folder` holds a checkpoint, training goes on from it
    with the data order that it would have had. At the end the model (that of
    the first process) has the weights of the round with the best WER, the later one of equals.

    Args:
        sources: the training data; the first one makes up a pass. Their texts are in the model's
            alphabet.
        validation: chooses the weights, and ends the training where `hyper.patience` says so.
        devices: GPUs, or processes on a CPU. With several, Lightning starts this command again
            for each of the others, and each calls this function.
        accelerator, precision: as Lightning names them; "auto" is bfloat16 where a GPU has it.

    Raises:
        RunError: `folder` holds a run with other data or hyper-parameters.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(hyper.seed)
    with open_dict(model.cfg):
        model.cfg.optim = {
            "name": "adamw",
            "lr": hyper.learning_rate,
            "betas": [0.9, 0.98],
            "weight_decay": hyper.weight_decay,
        }
    rate = _LearningRate(budget, hyper)
    rounds = _Rounds(folder, validation, budget, hyper, rate, watcher)
    trainer = Trainer(
        accelerator=accelerator,
        devices=devices,
        strategy=_strategy(devices),
        precision=_precision(precision, accelerator),
        max_steps=budget.steps or -1,
        max_epochs=-1,
        gradient_clip_val=hyper.gradient_clip,
        callbacks=[
            rate,
            _Augmentation(hyper.short_steps, hyper.seed),
            rounds,
            ModelCheckpoint(
                folder,
                filename=Path(CHECKPOINT).stem,
                save_on_train_epoch_end=True,
                enable_version_counter=False,
            ),
        ],
        log_every_n_steps=1 << 40,  # NeMo decodes a training batch each time, for a log
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,  # the stream deals to the processes itself
    )
    model.set_trainer(trainer)
    checkpoint = folder / CHECKPOINT
    loader = _loader(model, sources, hyper, trainer)
    try:
        trainer.fit(model, loader, ckpt_path=str(checkpoint) if checkpoint.exists() else None)
    except SystemExit:  # what Lightning makes of a Ctrl-C
        if trainer.interrupted:
            raise KeyboardInterrupt from None
        raise
    if trainer.is_global_zero:
        model.load_state_dict(torch.load(folder / BEST, map_location="cpu", weights_only=True))
    return rounds.fitted()


def claim(folder: Path, run: dict[str, Any]) -> None:
    """Write down whose run `folder` holds, so that another does not go on from its checkpoint.

    Raises:
        RunError: it holds another one's.
    """
    file = folder / "run.json"
    if file.exists():
        if json.loads(file.read_text()) != run:
            raise RunError(
                f"{folder} holds an unfinished training with other data or settings; finish it "
                "by its own command, or remove the folder"
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".partial")
    unfinished.write_text(json.dumps(run))
    unfinished.rename(file)


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
    model: Any, sources: Sequence[Source], hyper: Hyperparameters, trainer: Trainer
) -> DataLoader[Any]:
    stream = BatchStream(
        [[each.duration for each in source.utterances] for source in sources],
        [source.share for source in sources],
        seed=hyper.seed,
        batch_seconds=hyper.batch_seconds,
        round_steps=hyper.round_steps,
        short_steps=hyper.short_steps,
    )
    utterances = [each for source in sources for each in source.utterances]
    vocabulary = Vocabulary(model)
    tokens = [vocabulary.encode(each.text) for each in utterances]
    rate = int(model.cfg.sample_rate)
    data = BatchDataset(utterances, tokens, rate, hyper.speed, hyper.silence, hyper.noise)
    on_gpu = type(trainer.accelerator).__name__ == "CUDAAccelerator"
    readers = min(_GPU_READERS, (os.cpu_count() or 2) - 1) if on_gpu else 0
    return DataLoader(data, sampler=stream, batch_size=None, num_workers=readers)


class _LearningRate(Callback):
    """Sets the learning rate before each step, and ends the training at the end of its budget.

    Attributes:
        seconds: of training so far, kept in the checkpoint.
    """

    def __init__(self, budget: Budget, hyper: Hyperparameters) -> None:
        self._budget = budget
        self._hyper = hyper
        self._since: float | None = None
        self._before = 0.0

    @property
    def seconds(self) -> float:
        return self._before + (time.monotonic() - self._since if self._since else 0.0)

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._before = state["seconds"]

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self._since = time.monotonic()

    def on_train_batch_start(
        self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        progress = self.progress(trainer)
        rate = learning_rate(self._hyper.learning_rate, progress, self._hyper.warm_up)
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = rate

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.progress(trainer) >= 1:
            trainer.should_stop = True

    def progress(self, trainer: Trainer) -> float:
        """Part of the budget used up; the same in all processes."""
        seconds = self.seconds
        if self._budget.minutes and trainer.world_size > 1:
            seconds = trainer.strategy.broadcast(seconds)
        return self._budget.progress(trainer.global_step, seconds)


class _Augmentation(Callback):
    """SpecAugment off for the first steps, and after a resume the same as without a break."""

    def __init__(self, off_steps: int, seed: int) -> None:
        self._off_steps = off_steps
        self._seed = seed
        self._masks: Any = None

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self._masks = module.spec_augmentation

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        number = trainer.current_epoch * trainer.world_size + trainer.global_rank
        torch.manual_seed(self._seed + number)

    def on_train_batch_start(
        self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        module.spec_augmentation = None if trainer.global_step < self._off_steps else self._masks

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        module.spec_augmentation = self._masks


class _Rounds(Callback):
    """Measures after each round, keeps the best weights, loses patience."""

    def __init__(
        self,
        folder: Path,
        validation: Sequence[Utterance],
        budget: Budget,
        hyper: Hyperparameters,
        rate: _LearningRate,
        watcher: Watcher | None,
    ) -> None:
        self._folder = folder
        self._validation = validation
        self._patience = hyper.patience
        self._rate = rate
        self._watcher = watcher
        self._losses: list[float] = []
        self._rounds: list[Round] = []

    def state_dict(self) -> dict[str, Any]:
        return {"rounds": [asdict(each) for each in self._rounds]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._rounds = [Round(**each) for each in state["rounds"]]

    def fitted(self) -> Fitted:
        return Fitted("early" if self._is_over() else "budget", self._best(), self._rounds[-1])

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        self._losses = []
        if self._rounds and self._is_over():
            trainer.should_stop = True

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._losses.append(float(outputs["loss"]))
        if self._watcher:
            self._watcher.step(self._rate.progress(trainer), self._losses[-1])

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        if not self._losses:
            return  # a resumed run ends the round of its checkpoint once more
        errors = word_errors(module, self._validation) if trainer.is_global_zero else None
        result = Round(
            step=trainer.global_step,
            progress=self._rate.progress(trainer),
            loss=round(sum(self._losses) / len(self._losses), 4),
            learning_rate=trainer.optimizers[0].param_groups[0]["lr"],
            wer=round((errors.percent if errors else None) or 0.0, 3),
            seconds=round(self._rate.seconds, 1),
        )
        result = trainer.strategy.broadcast(result)
        self._rounds.append(result)
        if trainer.is_global_zero:
            if self._best() is result:
                _save(module.state_dict(), self._folder / BEST)
            with (self._folder / PROGRESS).open("a") as file:
                file.write(json.dumps(asdict(result)) + "\n")
            if self._watcher:
                self._watcher.round(result)
        if self._is_over():
            trainer.should_stop = True

    def _best(self) -> Round:
        """The last one of the best: the learning rate has fallen further."""
        return min(reversed(self._rounds), key=lambda each: each.wer)

    def _is_over(self) -> bool:
        """Whether the last `patience` rounds have brought nothing."""
        if self._patience is None or len(self._rounds) <= self._patience:
            return False
        lately = min(each.wer for each in self._rounds[-self._patience :])
        return lately >= min(each.wer for each in self._rounds[: -self._patience])


def _save(weights: Any, path: Path) -> None:
    unfinished = path.with_suffix(".partial")
    torch.save(weights, unfinished)
    unfinished.rename(path)
