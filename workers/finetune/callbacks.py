"""Callbacks of the training: learning rate, SpecAugment, and the WER of each round."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from serve_app.system.files import atomic_path
from workers.finetune.budget import Budget, learning_rate
from workers.finetune.recipe import Recipe
from workers.finetune.scoring import word_errors
from workers.manifests.speech import Utterance

BEST = "best.pt"
PROGRESS = "progress.jsonl"


@dataclass(frozen=True)
class Round:
    """The figures of a round: the steps from one checkpoint to the next.

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
    """How a training ended.

    Attributes:
        stopped: "budget" or "early".
        best: the round whose weights the model has now.
        last: the last round.
    """

    stopped: str
    best: Round
    last: Round


class Watcher(Protocol):
    """An observer of a training."""

    def step(self, progress: float, loss: float) -> None:
        """Called after each step with the used part of the budget, 0 to 1, and the loss."""

    def round(self, result: Round) -> None:
        """Called after each round."""


class LearningRate(Callback):
    """Sets the learning rate before each step, and ends the training at the end of its budget.

    Attributes:
        seconds: of training so far, kept in the checkpoint.
        progress: part of the budget used up after the last step; the same in all processes.
    """

    def __init__(self, budget: Budget, recipe: Recipe) -> None:
        self._budget = budget
        self._recipe = recipe
        self._since: float | None = None
        self._before = 0.0
        self.progress = 0.0

    @property
    def seconds(self) -> float:
        """Time spent training, earlier runs included."""
        return self._before + (time.monotonic() - self._since if self._since else 0.0)

    def state_dict(self) -> dict[str, Any]:
        """State for the checkpoint."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self._before = state["seconds"]

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Start the clock."""
        self._since = time.monotonic()
        self._advance(trainer)

    def on_train_batch_start(
        self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Set the learning rate of this step."""
        rate = learning_rate(self._recipe.learning_rate, self.progress, self._recipe.warm_up)
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = rate

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update the progress, and end the training when the budget is used up."""
        self._advance(trainer)
        if self.progress >= 1:
            trainer.should_stop = True

    def _advance(self, trainer: Trainer) -> None:
        seconds = self.seconds
        if self._budget.minutes and trainer.world_size > 1:
            seconds = trainer.strategy.broadcast(seconds)
        self.progress = self._budget.progress(trainer.global_step, seconds)


class SpecAugment(Callback):
    """Switches SpecAugment off for the first steps, and seeds it for each round.

    So a training that is resumed goes on as it would have without a break.
    """

    def __init__(self, off_steps: int, seed: int) -> None:
        self._off_steps = off_steps
        self._seed = seed
        self._masks: Any = None

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Remember the model's own SpecAugment."""
        self._masks = module.spec_augmentation

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Seed the random masks of this round."""
        number = trainer.current_epoch * trainer.world_size + trainer.global_rank
        torch.manual_seed(self._seed + number)

    def on_train_batch_start(
        self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Switch SpecAugment off for the first steps."""
        module.spec_augmentation = None if trainer.global_step < self._off_steps else self._masks

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Restore the model's own SpecAugment."""
        module.spec_augmentation = self._masks


class Rounds(Callback):
    """Measures the WER after each round, keeps the best weights, and stops without progress."""

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
        """State for the checkpoint."""
        return {"rounds": [asdict(each) for each in self._rounds]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self._rounds = [Round(**each) for each in state["rounds"]]

    def fitted(self) -> Fitted:
        """The result of the training."""
        return Fitted("early" if self._is_over() else "budget", self._best(), self._rounds[-1])

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Begin a round, unless patience is used up."""
        self._losses = []
        if self._rounds and self._is_over():
            trainer.should_stop = True

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Collect the loss of the step."""
        self._losses.append(float(outputs["loss"]))
        if self._watcher:
            self._watcher.step(self._rate.progress, self._losses[-1])

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Measure the WER, and keep the weights if it is the best."""
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
                with atomic_path(self._folder / BEST) as unfinished:
                    torch.save(module.state_dict(), unfinished)
            with (self._folder / PROGRESS).open("a") as file:
                file.write(json.dumps(asdict(result)) + "\n")
            if self._watcher:
                self._watcher.round(result)
        if self._is_over():
            trainer.should_stop = True

    def _best(self) -> Round:
        """The round with the best WER, of several the last: its learning rate is lower."""
        return min(reversed(self._rounds), key=lambda each: each.wer)

    def _is_over(self) -> bool:
        """Whether the last `patience` rounds have not improved the WER."""
        if self._patience is None or len(self._rounds) <= self._patience:
            return False
        lately = min(each.wer for each in self._rounds[-self._patience :])
        return lately >= min(each.wer for each in self._rounds[: -self._patience])
