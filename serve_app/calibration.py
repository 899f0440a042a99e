"""From a model's raw confidences to the probability that its words are right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec

from schemas.calibration import Calibration, ModelCalibration

#: Confidences are kept so far from 0 and 1: a logit must be finite.
_EDGE = 1e-4


def calibrated(confidences: Sequence[float], model: ModelCalibration | None) -> list[float]:
    """The calibrated confidence of each word of one hypothesis; raw ones where `model` is None."""
    if model is None or not confidences:
        return list(confidences)
    logits = [logit(each) for each in confidences]
    base = model.bias + model.utterance * sum(logits) / len(logits)
    return [_sigmoid(base + model.word * each) for each in logits]


def logit(probability: float) -> float:
    """The log of the odds; finite for 0 and 1 too."""
    kept = min(max(probability, _EDGE), 1 - _EDGE)
    return math.log(kept / (1 - kept))


def _sigmoid(logit: float) -> float:
    return (1 + math.tanh(logit / 2)) / 2  # unlike with exp, no logit is too large


def read_calibration(path: Path) -> Calibration:
    """The calibration in a file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no calibration; the message names the key.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Calibration)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: is no calibration: {error}") from None
