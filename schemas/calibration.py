"""What models' confidences are worth: learned by `chorus calibrate`, read by the Router."""

from __future__ import annotations

import msgspec

from schemas.settings import Combiner


class ModelCalibration(msgspec.Struct, kw_only=True, frozen=True):
    """The probability that a word is right: ``sigmoid(bias + word * a + utterance * b)``.

    `a` is the logit of the word's own confidence, `b` the mean of those of the utterance (Platt
    scaling with one feature more: a word among doubtful words is doubtful itself).

    Attributes:
        words: how many it was learned from.
    """

    bias: float
    word: float
    utterance: float
    words: int


class Calibration(msgspec.Struct, kw_only=True):
    """A file of `chorus calibrate`.

    Attributes:
        made: UTC, ISO 8601.
        normaliser: of the texts, see `serve_app.wer`.
        utterances: of the labelled manifests.
        models: by name.
        sha256: of each model's file: for another one the calibration does not hold.
        combiner: the parameters of an ensemble of these models that did best.
        figures: what it gains, on folds that it was not learned from, by name.
    """

    made: str
    normaliser: str
    utterances: int
    models: dict[str, ModelCalibration]
    sha256: dict[str, str]
    combiner: Combiner
    figures: dict[str, float] = {}
