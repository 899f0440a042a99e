"""Turn a model's raw confidences into probabilities that its words are right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec

from schemas.calibration import Calibration, ModelCalibration

#: Confidences are kept at least this far from 0 and 1, so that their logits are finite.
_EDGE = 1e-4


def calibrated(confidences: Sequence[float], model: ModelCalibration | None) -> list[float]:
    """Calibrate the confidences of the words of one hypothesis.

    Args:
        confidences: raw, 0 to 1, one per word.
        model: the calibration of the model; None returns the raw confidences.

    Returns:
        One probability per word.
    """
    if model is None or not confidences:
        return list(confidences)
    logits = [logit(each) for each in confidences]
    base = model.bias + model.utterance * sum(logits) / len(logits)
    return [_sigmoid(base + model.word * each) for each in logits]


def logit(probability: float) -> float:
    """The natural logarithm of the odds; finite for 0 and 1 too."""
    kept = min(max(probability, _EDGE), 1 - _EDGE)
    return math.log(kept / (1 - kept))


def _sigmoid(logit: float) -> float:
    return (1 + math.tanh(logit / 2)) / 2  # does not overflow, unlike exp


def read_calibration(path: Path) -> Calibration:
    """Read a calibration from a JSON file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not a calibration; the message names the key.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Calibration)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a valid calibration: {error}") from None
