"""How to train."""

from __future__ import annotations

from dataclasses import dataclass

from workers.finetune.batches import SILENCE_S


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
