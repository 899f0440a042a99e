"""The thresholds of the settings against what was found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from schemas.settings import ValidationSettings
from workers.evaluation.findings import Findings
from workers.evaluation.scores import Score


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One threshold.

    Attributes:
        key: of the settings, below `validation`.
        limit: what is asked for.
        value: what was found; None where it could not be found out.
        passed: False also where nothing was found: what is asked for must be shown.
        reason: why nothing was found; empty otherwise.
    """

    key: str
    limit: float
    value: float | None
    passed: bool
    reason: str = ""


def check(findings: Findings, thresholds: ValidationSettings) -> list[Check]:
    """Every threshold that is given, in the order of the settings.

    Raises:
        ValueError: a threshold names a slice or a stress that there is not; it lists those there
            are.
    """
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
    slices = {each.name: each for each in findings.slices}
    _known("max_slice_wer", asked.max_slice_wer, slices)
    for name, limit in asked.max_slice_wer.items():
        found = slices[name].score
        key = f"max_slice_wer.{name}"
        yield _at_most(key, limit, *_judged(found, found.wer, asked.min_words))
    stresses = {each.name: each for each in findings.stresses}
    _known("max_degradation", asked.max_degradation, stresses)
    for name, limit in asked.max_degradation.items():
        stress = stresses[name]
        key = f"max_degradation.{name}"
        yield _at_most(key, limit, *_judged(stress.score, stress.degradation, asked.min_words))


def _judged(score: Score, value: float | None, min_words: int) -> tuple[float | None, str]:
    words = score.words.reference
    if not words:
        return None, "there is no such speech in the test set"
    if words < min_words:
        return None, f"{words} words are too few to judge by; `min_words` asks for {min_words}"
    return value, ""


def _at_most(key: str, limit: float, value: float | None, reason: str) -> Check:
    if value is None:
        return Check(key=key, limit=limit, value=None, passed=False, reason=reason)
    return Check(key=key, limit=limit, value=value, passed=value <= limit)


def _known(key: str, asked: dict[str, float], found: Mapping[str, object]) -> None:
    unknown = [name for name in asked if name not in found]
    if unknown:
        raise ValueError(
            f"validation.{key}: there is no {', '.join(unknown)}; there are: {', '.join(found)}"
        )
