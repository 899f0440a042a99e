"""What validation measures of a model; checks and recommendations are derived from it."""

from __future__ import annotations

import msgspec

from workers.evaluation.statistics.intervals import Interval
from workers.evaluation.statistics.scores import Score


class SliceFinding(msgspec.Struct, frozen=True, kw_only=True):
    """Accuracy on a part of the test set.

    Attributes:
        name: "short", "long", "noisy", "telephone", or ``key=value`` for a key of the manifest.
        meaning: description of the part for display.
        score: accuracy on the part.
        degradation: WER of the part minus WER of the whole set, in percentage points; None if one
            of them has no words.
    """

    name: str
    meaning: str
    score: Score
    degradation: float | None


class StressFinding(msgspec.Struct, frozen=True, kw_only=True):
    """Accuracy on degraded utterances, compared with the same utterances unchanged.

    Attributes:
        name: name of the stress test, see `workers.evaluation.validation.stress`.
        kind: kind of degradation.
        score: accuracy on the degraded utterances.
        clean_wer: pooled WER of the same utterances unchanged, in percent.
        degradation: WER of the degraded utterances minus `clean_wer`, in percentage points.
        interval: 95% interval of the degradation.
    """

    name: str
    kind: str
    score: Score
    clean_wer: float | None
    degradation: float | None
    interval: Interval | None


class BaselineFinding(msgspec.Struct, frozen=True, kw_only=True):
    """The same test set with another model, which this one is held against.

    Attributes:
        name: name of the other model.
        score: its accuracy on the whole set.
        rtfx: its speed, as in `Findings`.
        increase: WER of the validated model minus that of the other, in percentage points: below 0,
            the validated model is better.
        interval: 95% interval of the increase.
        speed_ratio: speed of the validated model divided by that of the other.
    """

    name: str
    score: Score
    rtfx: float | None
    increase: float | None
    interval: Interval | None
    speed_ratio: float | None


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """All measurements of one model on one test set.

    Attributes:
        score: accuracy on the whole set.
        interval: 95% interval of its WER.
        slices: accuracy on each part, including parts without utterances.
        stresses: the stress tests; empty if none were wanted.
        rtfx: seconds of audio divided by seconds of processing.
        heard_in_silence: words that the model produced per minute of utterances in which nothing is
            said; None without such an utterance.
        confidence: mean confidence of the utterances, weighted by their words, in percent; None if
            the model gives none.
        accuracy: percent of the recognised words that are right, in utterances with a confidence.
        baseline: what another model achieves on the same set; None if there is none.
    """

    score: Score
    interval: Interval | None
    slices: list[SliceFinding]
    stresses: list[StressFinding]
    rtfx: float | None
    heard_in_silence: float | None
    confidence: float | None
    accuracy: float | None
    baseline: BaselineFinding | None = None
