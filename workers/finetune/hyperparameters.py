"""How to train."""

from __future__ import annotations

from dataclasses import dataclass, field

from workers.finetune.augmentation import Augmentation


@dataclass(frozen=True)
class Hyperparameters:
    """How to train.

    Attributes:
        learning_rate: the peak, reached after the part `warm_up` of the budget; then a cosine.
        batch_seconds: padded seconds of audio in a batch, for each process.
        round_steps: steps between checkpoints, each with a WER on the validation data.
        patience: stop after so many rounds without a better WER; None trains to the end.
        short_steps: the first steps see short clips only, without SpecAugment. For fresh models.
        augmentation: of the clips.
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
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 1
