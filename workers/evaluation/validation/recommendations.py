"""Recommendations that follow from a validation, each with the numbers behind it.

A rule applies only if there are enough words to judge by (`MIN_WORDS`) and the difference is large
enough to matter. The limits of 20% and of 10 points are those of NeMo Curator's tutorial.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from workers.evaluation.validation.findings import Findings, SliceFinding

#: WER in percent above which a model as a whole is not good enough.
HIGH_WER = 20.0
#: Percentage points of WER by which a slice or a stress test must be worse.
DEGRADATION = 10.0
#: Fewest reference words by which a slice is judged.
MIN_WORDS = 50
#: Share of all errors, in percent, above which one kind of error is reported as dominant.
DOMINANT = 60.0
#: Width of the WER's interval, as a fraction of the WER, above which the test set is too small.
WIDE = 0.5
#: Words per minute of audio without speech above which the model is said to hallucinate.
HALLUCINATION = 1.0
#: Percentage points by which mean confidence may differ from accuracy.
CALIBRATION = 10.0


class Recommendation(msgspec.Struct, frozen=True, kw_only=True):
    """One recommendation.

    Attributes:
        code: identifies the rule, for scripts.
        message: what was found and what to do.
        numbers: the numbers behind it, by name; WER in percent, differences in percentage points.
    """

    code: str
    message: str
    numbers: dict[str, float]


def recommend(findings: Findings) -> list[Recommendation]:
    """All recommendations that follow from `findings`, the most general first."""
    return [advice for rule in _RULES for advice in rule(findings)]


def _failures(found: Findings) -> Iterator[Recommendation]:
    score = found.score
    if score.failed:
        yield Recommendation(
            code="failures",
            message=f"the model gave no text for {score.failed} of {score.utterances} utterances; "
            "look at their `processing_error` in the --work folder before anything else",
            numbers={"failed": score.failed, "utterances": score.utterances},
        )


def _small_set(found: Findings) -> Iterator[Recommendation]:
    wer, interval = found.score.wer, found.interval
    if not wer or interval is None or interval.high - interval.low <= WIDE * wer:
        return
    yield Recommendation(
        code="small_test_set",
        message=f"the WER of {wer:.1f}% is uncertain, from {interval.low:.1f}% to "
        f"{interval.high:.1f}%: test on more speech, by more speakers, before comparing models "
        "by it",
        numbers={"wer": wer, "low": interval.low, "high": interval.high},
    )


def _accuracy(found: Findings) -> Iterator[Recommendation]:
    wer = found.score.wer
    if wer is not None and wer > HIGH_WER and found.score.words.reference >= MIN_WORDS:
        yield Recommendation(
            code="high_wer",
            message=f"the WER is {wer:.1f}%, more than {HIGH_WER:g}%: fine-tune the model on "
            "speech like this (`chorus finetune`), or start from a larger base model",
            numbers={"wer": wer, "limit": HIGH_WER},
        )


def _edits(found: Findings) -> Iterator[Recommendation]:
    words = found.score.words
    if words.reference < MIN_WORDS or words.errors < MIN_WORDS / 5:
        return
    for code, count, advice in (
        (
            "deletions",
            words.deletions,
            "the model leaves out words: look for quiet or cut speech, for clips that are split "
            "too finely (`split_seconds`), and for references that contain more than is said",
        ),
        (
            "insertions",
            words.insertions,
            "the model adds words: look for other voices and noise between the words, and for "
            "references that contain less than is said",
        ),
    ):
        share = 100 * count / words.errors
        if share > DOMINANT:
            yield Recommendation(
                code=code,
                message=f"{share:.0f}% of the errors are {code}: {advice}",
                numbers={code: count, "errors": words.errors, "share": round(share, 1)},
            )


def _silence(found: Findings) -> Iterator[Recommendation]:
    heard = found.heard_in_silence
    if heard is not None and heard > HALLUCINATION:
        yield Recommendation(
            code="heard_in_silence",
            message=f"the model produces {heard:.1f} words per minute where nothing is said: "
            "leave out audio without speech, or train with noise that has an empty text",
            numbers={"words_per_minute": heard},
        )


def _confidence(found: Findings) -> Iterator[Recommendation]:
    sure, right = found.confidence, found.accuracy
    if sure is None or right is None or abs(sure - right) <= CALIBRATION:
        return
    bias = "overconfident" if sure > right else "underconfident"
    yield Recommendation(
        code="confidence",
        message=f"the model's confidence is {sure:.0f}% on average and {right:.0f}% of its words "
        f"are right: it is {bias}; run `chorus calibrate` before its confidence is compared with "
        "that of another model",
        numbers={"confidence": sure, "accuracy": right},
    )


_SLICES: dict[str, str] = {
    "short": "route short speech (`audio.seconds`) to a model that is better at it, or join "
    "neighbouring segments",
    "long": "lower the model's `split_seconds`, or fine-tune on longer utterances",
    "noisy": "fine-tune with noise (`chorus finetune --lowest-snr`), or route noisy speech to a "
    "model that was trained on it",
    "telephone": "fine-tune on telephone speech, or route it to a model that was trained on it",
}


def _slices(found: Findings) -> Iterator[Recommendation]:
    for each in found.slices:
        if not _is_worse(each):
            continue
        wer, points = each.score.wer or 0.0, each.degradation or 0.0
        advice = _SLICES.get(each.name)
        code = each.name if advice else "field"
        advice = advice or "fine-tune on more of it, or route it to another model"
        yield Recommendation(
            code=code,
            message=f"{each.meaning}: the WER is {wer:.1f}%, {points:.1f} points above the "
            f"whole set: {advice}",
            numbers={"wer": wer, "degradation": points, "utterances": each.score.utterances},
        )


def _is_worse(part: SliceFinding) -> bool:
    enough = part.score.words.reference >= MIN_WORDS
    return enough and part.degradation is not None and part.degradation > DEGRADATION


_STRESSES: dict[str, str] = {
    "noise": "fine-tune with noise (`chorus finetune --lowest-snr`), or route noisy speech to "
    "another model",
    "telephone": "route telephone speech to another model, or fine-tune on it",
    "speed": "fine-tune with changes of speed (`chorus finetune --speed 0.15`)",
    "clipping": "lower the recording level, or fine-tune on clipped speech",
    "reverberation": "place the microphone nearer, or fine-tune with reverberation "
    "(`chorus finetune --rooms`)",
}


def _stresses(found: Findings) -> Iterator[Recommendation]:
    """For each kind of stress test, the worst one whose degradation is significant."""
    for kind, advice in _STRESSES.items():
        worse = [
            (each.degradation, each)
            for each in found.stresses
            if each.kind == kind
            and each.degradation is not None
            and each.degradation > DEGRADATION
            and each.interval is not None
            and each.interval.low > 0
            and each.score.words.reference >= MIN_WORDS
        ]
        if not worse:
            continue
        points, worst = max(worse, key=lambda pair: pair[0])
        wer, clean = worst.score.wer or 0.0, worst.clean_wer or 0.0
        yield Recommendation(
            code=f"stress_{kind}",
            message=f"{worst.name} raises the WER from {clean:.1f}% to {wer:.1f}%: {advice}",
            numbers={"wer": wer, "clean_wer": clean, "degradation": points},
        )


Rule = Callable[[Findings], Iterator[Recommendation]]
_RULES: tuple[Rule, ...] = (
    _failures,
    _small_set,
    _accuracy,
    _edits,
    _silence,
    _confidence,
    _slices,
    _stresses,
)
