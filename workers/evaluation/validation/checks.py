"""Check what validation measured against the thresholds of the settings."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import msgspec

from schemas.settings import ValidationSettings
from workers.evaluation.statistics.scores import Score
from workers.evaluation.validation.findings import BaselineFinding, Findings


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One threshold and whether the model meets it.

    Attributes:
        key: key of the threshold in the settings, below `validation`.
        limit: the threshold.
        value: the measured value; None if the test set does not allow one.
        passed: whether the threshold is met; False if there is no value.
        reason: why there is no value; empty if there is one.
    """

    key: str
    limit: float
    value: float | None
    passed: bool
    reason: str = ""


def check_names(
    thresholds: ValidationSettings, slices: Collection[str], stresses: Collection[str]
) -> None:
    """Check that there is what the thresholds name, before anything is measured.

    Raises:
        ValueError: a threshold names an unknown slice or stress test; it lists the known ones.
    """
    for key, asked, known in (
        ("max_slice_wer", thresholds.max_slice_wer, slices),
        ("max_degradation", thresholds.max_degradation, stresses),
    ):
        unknown = [name for name in asked if name not in known]
        if unknown:
            raise ValueError(
                f"validation.{key}: unknown name {', '.join(unknown)}; "
                f"known are: {', '.join(known)}"
            )


def check(findings: Findings, thresholds: ValidationSettings) -> list[Check]:
    """Check every threshold that is given, in the order of the settings; see `check_names`."""
    return list(_checks(findings, thresholds))


def _checks(findings: Findings, asked: ValidationSettings) -> Iterator[Check]:
    score = findings.score
    failed = 100 * score.failed / score.utterances if score.utterances else None
    for key, limit, value in (
        ("max_wer", asked.max_wer, score.wer),
        ("max_cer", asked.max_cer, score.cer),
        ("max_failed", asked.max_failed, failed),
    ):
        if limit is not None:
            yield _at_most(key, limit, value, "no utterance has a reference")
    if asked.min_rtfx is not None:
        rtfx = findings.rtfx
        fast = rtfx is not None and rtfx >= asked.min_rtfx
        reason = "" if rtfx is not None else "nothing was transcribed"
        yield Check(key="min_rtfx", limit=asked.min_rtfx, value=rtfx, passed=fast, reason=reason)
    if findings.baseline is not None:
        yield from _against(findings.baseline, asked)
    slices = {each.name: each for each in findings.slices}
    for name, limit in asked.max_slice_wer.items():
        found = slices[name].score
        key = f"max_slice_wer.{name}"
        yield _at_most(key, limit, *_judged(found, found.wer, asked.min_words))
    stresses = {each.name: each for each in findings.stresses}
    for name, limit in asked.max_degradation.items():
        stress = stresses[name]
        key = f"max_degradation.{name}"
        yield _at_most(key, limit, *_judged(stress.score, stress.degradation, asked.min_words))


def _against(baseline: BaselineFinding, asked: ValidationSettings) -> Iterator[Check]:
    no_wer = "no utterance has a reference"
    yield _at_most("max_wer_increase", asked.max_wer_increase, baseline.increase, no_wer)
    ratio, limit = baseline.speed_ratio, asked.min_speed_ratio
    yield Check(
        key="min_speed_ratio",
        limit=limit,
        value=ratio,
        passed=ratio is not None and ratio >= limit,
        reason="" if ratio is not None else "nothing was transcribed",
    )


def _judged(score: Score, value: float | None, min_words: int) -> tuple[float | None, str]:
    words = score.words.reference
    if not words:
        return None, "there is no such speech in the test set"
    if words < min_words:
        return None, f"{words} words are too few to judge; `min_words` requires {min_words}"
    return value, ""


def _at_most(key: str, limit: float, value: float | None, reason: str) -> Check:
    if value is None:
        return Check(key=key, limit=limit, value=None, passed=False, reason=reason)
    return Check(key=key, limit=limit, value=value, passed=value <= limit)
