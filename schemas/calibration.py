"""The calibration of models' confidences: written by `chorus calibrate`, read by the Router."""

from __future__ import annotations

import msgspec

from schemas.settings import Combiner


class ModelCalibration(msgspec.Struct, kw_only=True, frozen=True):
    """The probability that a word is right: ``sigmoid(bias + word * a + utterance * b)``.

    `a` is the logit of the word's own confidence, `b` the mean logit over the words of the
    utterance. This is Platt scaling with a second feature: a word is less likely to be right if the
    words around it are uncertain.

    Attributes:
        bias: the constant term.
        word: weight of the word's own logit.
        utterance: weight of the utterance's mean logit.
        words: number of words that it was fitted on.
    """

    bias: float
    word: float
    utterance: float
    words: int


class Calibration(msgspec.Struct, kw_only=True):
    """The file that `chorus calibrate` writes.

    Attributes:
        made: when it was made, UTC, ISO 8601.
        normaliser: how the texts were normalised, see `serve_app.scoring.wer`.
        utterances: number of utterances in the labelled manifests.
        models: the calibration of each model, by name.
        sha256: SHA-256 digest of each model's file, by name; the calibration is not valid for
            another file.
        combiner: the parameters that did best for an ensemble of these models.
        figures: what the calibration gains, by name, measured by cross-validation.
    """

    made: str
    normaliser: str
    utterances: int
    models: dict[str, ModelCalibration]
    sha256: dict[str, str]
    combiner: Combiner
    figures: dict[str, float] = {}
