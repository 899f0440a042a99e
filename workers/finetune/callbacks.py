"""What happens beside the training steps: learning rate, augmentation, checks of the WER."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from workers.finetune.budget import Budget, learning_rate
from workers.finetune.hyperparameters import Hyperparameters
from workers.finetune.scoring import word_errors
from workers.speech import Utterance

BEST = "best.pt"
PROGRESS = "progress.jsonl"


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


class Watcher(Protocol):
    """Told how a training goes."""

    def step(self, progress: float, loss: float) -> None:
        """After each step: the part of the budget used up, and the step's loss."""

    def round(self, result: Round) -> None:
        """After each round."""


class LearningRate(Callback):
    """Sets the learning rate before each step, and ends the training at the end of its budget.

    Attributes:
        seconds: of training so far, kept in the checkpoint.
        progress: part of the budget used up after the last step; the same in all processes.
    """

    def __init__(self, budget: Budget, hyper: Hyperparameters) -> None:
        self._budget = budget
        self._hyper = hyper
        self._since: float | None = None
        self._before = 0.0
        self.progress = 0.0

    @property
    def seconds(self) -> float:
        return self._before + (time.monotonic() - self._since if self._since else 0.0)

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._before = state["seconds"]

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self._since = time.monotonic()
        self._advance(trainer)

    def on_train_batch_start(
        self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        rate = learning_rate(self._hyper.learning_rate, self.progress, self._hyper.warm_up)
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = rate

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._advance(trainer)
        if self.progress >= 1:
            trainer.should_stop = True

    def _advance(self, trainer: Trainer) -> None:
        seconds = self.seconds
        if self._budget.minutes and trainer.world_size > 1:
            seconds = trainer.strategy.broadcast(seconds)
        self.progress = self._budget.progress(trainer.global_step, seconds)


class SpecAugment(Callback):
    """Off for the first steps, and after a resume the same as without a break."""

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


class Rounds(Callback):
    """Measures after each round, keeps the best weights, loses patience."""

    def __init__(
        self,
        folder: Path,
        validation: Sequence[Utterance],
        patience: int | None,
        rate: LearningRate,
        watcher: Watcher | None,
    ) -> None:
        self._folder = folder
        self._validation = validation
        self._patience = patience
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
            self._watcher.step(self._rate.progress, self._losses[-1])

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        if not self._losses:
            return  # a resumed run ends the round of its checkpoint once more
        errors = word_errors(module, self._validation) if trainer.is_global_zero else None
        result = Round(
            step=trainer.global_step,
            progress=self._rate.progress,
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
