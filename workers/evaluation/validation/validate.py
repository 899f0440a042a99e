"""Validate one model on one test set: accuracy, weak slices, stress tests, thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
from numpy.random import default_rng

from schemas.settings import ValidationSettings
from serve_app.scoring.wer import NORMALISER, Normaliser
from workers.evaluation.comparison.scoring import score, set_info
from workers.evaluation.statistics.intervals import Bootstrap, Interval
from workers.evaluation.statistics.scores import Score, UtteranceScore, pool
from workers.evaluation.statistics.slices import (
    LONG_S,
    NOISY_DB,
    SHORT_S,
    TELEPHONE_HZ,
    by_field,
    fields_of,
)
from workers.evaluation.systems.naming import SettingsLike, SystemLike, as_systems, roots_of
from workers.evaluation.systems.recognition import (
    Heard,
    ProgressCallback,
    Recognition,
    Task,
    recognise,
    speed,
)
from workers.evaluation.testset import TestSet, read_test_set
from workers.evaluation.validation import stress
from workers.evaluation.validation.checks import check, check_names
from workers.evaluation.validation.findings import (
    BaselineFinding,
    Findings,
    SliceFinding,
    StressFinding,
)
from workers.evaluation.validation.recommendations import recommend
from workers.evaluation.validation.results import Validation
from workers.manifests.speech import Utterance

#: Default number of utterances for the stress tests.
STRESSED = 200

_CLEAN, _STRESSED = "as it is", "stressed"
_MODEL, _BASELINE = "model", "baseline"


def validate(
    model: SystemLike,
    manifest: str | Path | TestSet,
    *,
    baseline: SystemLike | None = None,
    thresholds: ValidationSettings | None = None,
    settings: SettingsLike | None = None,
    slice_by: Sequence[str] | None = None,
    stressed: int = STRESSED,
    folder: str | Path | None = None,
    skip_faults: bool = False,
    normaliser: Normaliser = NORMALISER,
    report: ProgressCallback = lambda name, done, total: None,
) -> Validation:
    """Validate a model on a test set. Blocks while it runs.

    Args:
        model: one model, plan or other system, as in `workers.evaluation.compare`.
        manifest: NeMo manifest, or a test set that has been read.
        baseline: another model or system, which the model must not be worse than.
        thresholds: what the model has to achieve.
        settings: models and plans by name, as in `workers.evaluation.compare`.
        slice_by: keys of the manifest to slice by; None takes those with few values and enough
            utterances of each.
        stressed: number of utterances for the stress tests, drawn at random with a fixed seed; 0
            for none.
        folder: where finished recognition is kept, so that an interrupted call can resume.
        skip_faults: leave out invalid lines of a manifest, instead of raising.
        normaliser: makes texts comparable before errors are counted, see `serve_app.scoring.wer`.
        report: called with the system's name, how many utterances are done, and how many there are.

    Raises:
        ManifestFaultsError: the manifest has invalid lines; it lists them all.
        ValueError: the model does not exist, the baseline has the same name, or a threshold names
            an unknown slice or stress test.
        EngineError: the model cannot be loaded, or fails on any audio.
        OSError: a file cannot be read or written.
    """
    thresholds = thresholds or ValidationSettings()
    systems = as_systems([model] if baseline is None else [model, baseline], settings)
    if isinstance(manifest, TestSet):
        test_set = manifest
    else:
        test_set = read_test_set(manifest, skip_faults=skip_faults, roots=roots_of(settings))
    drawn = _draw(test_set, stressed)
    part = TestSet(test_set.name, [test_set.utterances[i] for i in drawn], test_set.sha256)
    tried = stress.ALL if drawn else ()
    slices = _slices(test_set, slice_by)
    check_names(thresholds, [each.name for each in slices], [each.name for each in tried])
    tasks = [Task(test_set.name, test_set)]
    tasks += [Task(f"{test_set.name}@{each.name}", part, each) for each in tried]
    where = Path(folder) if folder else None
    found = recognise(systems[0], tasks, folder=where, report=report)
    heard = found.heard[test_set.name]
    scores = score(test_set, heard, normaliser)
    bootstrap = Bootstrap(test_set.speakers, test_set.scored)
    whole = pool(scores)
    fast = speed(heard)
    sure, right = _confidence(heard, scores)
    stresses = []
    for each in tried:
        harder = score(part, found.heard[f"{test_set.name}@{each.name}"], normaliser)
        stresses.append(_stress(each, part, harder, [scores[index] for index in drawn]))
    findings = Findings(
        score=whole,
        interval=bootstrap.interval(scores),
        slices=[_measured(each, scores, whole) for each in slices],
        stresses=stresses,
        rtfx=round(fast[0], 2) if fast else None,
        heard_in_silence=_heard_in_silence(test_set, scores),
        confidence=sure,
        accuracy=right,
    )
    if baseline is not None:
        other = recognise(systems[1], tasks[:1], folder=where, report=report)
        held = _against(other, test_set, bootstrap, findings, scores)
        findings = msgspec.structs.replace(findings, baseline=held)
    return Validation(
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        normaliser=normaliser,
        system=found.info,
        test_set=set_info(test_set, bootstrap),
        findings=findings,
        checks=check(findings, thresholds),
        recommendations=recommend(findings),
    )


def _against(
    other: Recognition,
    test_set: TestSet,
    bootstrap: Bootstrap,
    findings: Findings,
    scores: Sequence[UtteranceScore | None],
) -> BaselineFinding:
    """How the validated model does beside `other`, on the same utterances."""
    heard = other.heard[test_set.name]
    others = score(test_set, heard)
    whole, fast = pool(others), speed(heard)
    pairs = bootstrap.differences({_MODEL: scores, _BASELINE: others})
    rtfx = round(fast[0], 2) if fast else None
    return BaselineFinding(
        name=other.info.name,
        score=whole,
        rtfx=rtfx,
        increase=_difference(findings.score.wer, whole.wer),
        interval=Interval(pairs[0].low, pairs[0].high) if pairs else None,
        speed_ratio=round(findings.rtfx / rtfx, 3) if findings.rtfx and rtfx else None,
    )


def _draw(test_set: TestSet, count: int) -> list[int]:
    """Indices, in ascending order, of at most `count` utterances in which something is said."""
    scored = [i for i, each in enumerate(test_set.utterances) if each.text]
    return sorted(default_rng(0).permutation(scored)[:count].tolist())


class _Slice(NamedTuple):
    """A part of a test set: the indices of its utterances."""

    name: str
    meaning: str
    indices: list[int]


def _slices(test_set: TestSet, slice_by: Sequence[str] | None) -> list[_Slice]:
    utterances = test_set.utterances
    found = [
        _Slice(name, meaning, [i for i, each in enumerate(utterances) if holds(each)])
        for name, meaning, holds in _BUILT_IN_SLICES
    ]
    for field in fields_of(utterances) if slice_by is None else slice_by:
        found += [
            _Slice(f"{field}={each.value}", f"{field} {each.value}", list(each.indices))
            for each in by_field(utterances, field)
        ]
    return found


def _measured(part: _Slice, scores: Sequence[UtteranceScore | None], whole: Score) -> SliceFinding:
    found = pool(scores[index] for index in part.indices)
    return SliceFinding(
        name=part.name,
        meaning=part.meaning,
        score=found,
        degradation=_difference(found.wer, whole.wer),
    )


def _is_noisy(utterance: Utterance) -> bool:
    measured = utterance.measures.get("audio.snr_db")
    labelled = "nois" in str(utterance.fields.get("conditions", "")).lower()
    return labelled or (measured is not None and measured < NOISY_DB)


def _is_telephone(utterance: Utterance) -> bool:
    measured = utterance.measures.get("audio.bandwidth_hz")
    labelled = "phon" in str(utterance.fields.get("conditions", "")).lower()
    return labelled or (measured is not None and 0 < measured < TELEPHONE_HZ)


_BUILT_IN_SLICES = (
    ("short", f"speech under {SHORT_S:g} s", lambda each: each.duration < SHORT_S),
    ("long", f"speech over {LONG_S:g} s", lambda each: each.duration > LONG_S),
    ("noisy", f"noisy speech (labelled so, or SNR under {NOISY_DB:g} dB)", _is_noisy),
    (
        "telephone",
        f"telephone speech (labelled so, or bandwidth under {TELEPHONE_HZ:g} Hz)",
        _is_telephone,
    ),
)


def _stress(
    tried: stress.Stress,
    part: TestSet,
    harder: Sequence[UtteranceScore | None],
    clean: Sequence[UtteranceScore | None],
) -> StressFinding:
    bootstrap = Bootstrap(part.speakers, part.scored)
    differences = bootstrap.differences({_STRESSED: harder, _CLEAN: clean})
    before, after = pool(clean).wer, pool(harder)
    return StressFinding(
        name=tried.name,
        kind=tried.kind,
        score=after,
        clean_wer=before,
        degradation=_difference(after.wer, before),
        interval=Interval(differences[0].low, differences[0].high) if differences else None,
    )


def _heard_in_silence(test_set: TestSet, scores: Sequence[UtteranceScore | None]) -> float | None:
    """Words that the model produced per minute of utterances in which nothing is said."""
    words = seconds = 0.0
    for each, found in zip(test_set.utterances, scores, strict=True):
        if found is not None and not found.words.reference:
            words += found.words.insertions
            seconds += each.duration
    return round(60 * words / seconds, 2) if seconds else None


def _confidence(
    heard: Sequence[Heard], scores: Sequence[UtteranceScore | None]
) -> tuple[float | None, float | None]:
    """Mean confidence, and the share of the recognised words that are right; both in percent."""
    sure = right = words = 0.0
    for row, found in zip(heard, scores, strict=True):
        if found is None or row.confidence is None:
            continue
        correct = found.words.reference - found.words.deletions - found.words.substitutions
        count = correct + found.words.substitutions + found.words.insertions
        sure += row.confidence * count
        right += correct
        words += count
    if not words:
        return None, None
    return round(100 * sure / words, 2), round(100 * right / words, 2)


def _difference(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else round(one - other, 4)
