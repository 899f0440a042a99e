"""What validation finds out about a model; the facts that checks and recommendations go by."""

from __future__ import annotations

import msgspec

from workers.evaluation.intervals import Interval
from workers.evaluation.scores import Score


class SliceFinding(msgspec.Struct, frozen=True, kw_only=True):
    """Accuracy on a part of the test set.

    Attributes:
        name: "short", "long", "noisy", "telephone", or ``key=value`` for a key of the manifest.
        meaning: what is in it, for people.
        degradation: WER of the part less that of the whole set, in points; None where one of them
            has no words.
    """

    name: str
    meaning: str
    score: Score
    degradation: float | None


class StressFinding(msgspec.Struct, frozen=True, kw_only=True):
    """Accuracy on utterances that were made harder, against the same ones as they are.

    Attributes:
        name, kind: of the stress, see `workers.evaluation.stress`.
        score: of the changed utterances.
        clean_wer: of the same utterances unchanged, pooled, in percent.
        degradation: points of WER more than that.
        interval: of the degradation, 95%.
    """

    name: str
    kind: str
    score: Score
    clean_wer: float | None
    degradation: float | None
    interval: Interval | None


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """All facts about one model on one test set.

    Attributes:
        score: of the whole set.
        interval: of its WER, 95%.
        slices: those without utterances too.
        stresses: empty where none were asked for.
        rtfx: seconds of audio by seconds of work.
        heard_in_silence: words heard per minute of the utterances in which nothing is said; None
            without such an utterance.
        confidence: mean of the utterances' confidences, in percent, weighted by words; None where
            the model has none.
        accuracy: percent of the heard words that are right, where there is a confidence.
    """

    score: Score
    interval: Interval | None
    slices: list[SliceFinding]
    stresses: list[StressFinding]
    rtfx: float | None
    heard_in_silence: float | None
    confidence: float | None
    accuracy: float | None
