"""One model on one test set: accuracy, weak spots, stress, and whether it may go on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from numpy.random import default_rng

from schemas.settings import ValidationSettings
from serve_app.wer import NORMALISER
from workers.evaluation import stress
from workers.evaluation.checks import Check, check
from workers.evaluation.comparison_results import SetInfo
from workers.evaluation.comparison_scoring import score, set_info
from workers.evaluation.findings import Findings, SliceFinding, StressFinding
from workers.evaluation.intervals import Bootstrap, Interval
from workers.evaluation.naming import Known, Named, as_systems
from workers.evaluation.recognition import Heard, Report, Task, recognise, speed
from workers.evaluation.recommendations import Recommendation, recommend
from workers.evaluation.results import Result
from workers.evaluation.scores import Score, UtteranceScore, pool
from workers.evaluation.slices import (
    LONG_S,
    NOISY_DB,
    SHORT_S,
    TELEPHONE_HZ,
    by_field,
    fields_of,
)
from workers.evaluation.systems import SystemInfo
from workers.evaluation.testset import TestSet, read_test_set
from workers.speech import Utterance

#: Utterances that are made harder, unless told otherwise.
STRESSED = 200

_CLEAN, _STRESSED = "as it is", "stressed"


class Validation(Result):
    """What `validate` found.

    Attributes:
        made: UTC, ISO 8601.
        normaliser: of the texts, see `serve_app.wer`.
        findings: the facts.
        checks: each threshold that was asked for.
        recommendations: what to do.
    """

    made: str
    normaliser: str
    system: SystemInfo
    test_set: SetInfo
    findings: Findings
    checks: list[Check]
    recommendations: list[Recommendation]

    @property
    def passed(self) -> bool:
        """Whether every threshold was shown to be met."""
        return all(each.passed for each in self.checks)


def validate(
    model: Named,
    manifest: str | Path | TestSet,
    *,
    thresholds: ValidationSettings | None = None,
    settings: Known | None = None,
    slice_by: Sequence[str] | None = None,
    stressed: int = STRESSED,
    folder: str | Path | None = None,
    skip_faults: bool = False,
    report: Report = lambda name, done, total: None,
) -> Validation:
    """Validate a model on a test set. Blocks while it runs.

    Args:
        model, manifest, settings, folder, skip_faults, report: as in `compare`.
        thresholds: what the model must show.
        slice_by: keys of the manifest to look at; None takes those with few values and enough
            utterances of each.
        stressed: utterances to make harder, drawn at random, the same ones each time; 0 for none.

    Raises:
        ManifestFaultsError: the manifest has faults; it lists them all.
        ValueError: the model does not exist, or a threshold names a slice or stress that there is
            not.
        EngineError: the model cannot be loaded, or fails on any audio.
        OSError: a file cannot be read or written.
    """
    thresholds = thresholds or ValidationSettings()
    (system,) = as_systems([model], settings)
    if isinstance(manifest, TestSet):
        test_set = manifest
    else:
        test_set = read_test_set(manifest, skip_faults=skip_faults)
    drawn = _draw(test_set, stressed)
    part = TestSet(test_set.name, [test_set.utterances[i] for i in drawn], test_set.sha256)
    tried = stress.ALL if drawn else ()
    tasks = [Task(test_set.name, test_set)]
    tasks += [Task(f"{test_set.name}@{each.name}", part, each) for each in tried]
    found = recognise(system, tasks, folder=Path(folder) if folder else None, report=report)
    heard = found.heard[test_set.name]
    scores = score(test_set, heard)
    bootstrap = Bootstrap(test_set.speakers, test_set.scored)
    whole = pool(scores)
    fast = speed(heard)
    sure, right = _confidence(heard, scores)
    stresses = []
    for each in tried:
        harder = score(part, found.heard[f"{test_set.name}@{each.name}"])
        stresses.append(_stress(each, part, harder, [scores[index] for index in drawn]))
    findings = Findings(
        score=whole,
        interval=bootstrap.interval(scores),
        slices=_slices(test_set, scores, whole, slice_by),
        stresses=stresses,
        rtfx=round(fast[0], 2) if fast else None,
        heard_in_silence=_heard_in_silence(test_set, scores),
        confidence=sure,
        accuracy=right,
    )
    return Validation(
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        normaliser=NORMALISER,
        system=found.info,
        test_set=set_info(test_set, bootstrap),
        findings=findings,
        checks=check(findings, thresholds),
        recommendations=recommend(findings),
    )


def _draw(test_set: TestSet, count: int) -> list[int]:
    """Indices of utterances with a reference, in order."""
    scored = [i for i, each in enumerate(test_set.utterances) if each.text]
    return sorted(default_rng(0).permutation(scored)[:count].tolist())


def _slices(
    test_set: TestSet,
    scores: Sequence[UtteranceScore | None],
    whole: Score,
    slice_by: Sequence[str] | None,
) -> list[SliceFinding]:
    utterances = test_set.utterances
    parts = [
        (name, meaning, [i for i, each in enumerate(utterances) if holds(each)])
        for name, meaning, holds in _NAMED
    ]
    for field in fields_of(utterances) if slice_by is None else slice_by:
        parts += [
            (f"{field}={each.value}", f"{field} {each.value}", list(each.indices))
            for each in by_field(utterances, field)
        ]
    findings = []
    for name, meaning, indices in parts:
        found = pool(scores[index] for index in indices)
        findings.append(
            SliceFinding(
                name=name, meaning=meaning, score=found, degradation=_less(found.wer, whole.wer)
            )
        )
    return findings


def _is_noisy(utterance: Utterance) -> bool:
    measured = utterance.measures.get("audio.snr_db")
    said = "nois" in str(utterance.fields.get("conditions", "")).lower()
    return said or (measured is not None and measured < NOISY_DB)


def _is_telephone(utterance: Utterance) -> bool:
    measured = utterance.measures.get("audio.bandwidth_hz")
    said = "phon" in str(utterance.fields.get("conditions", "")).lower()
    return said or (measured is not None and 0 < measured < TELEPHONE_HZ)


_NAMED = (
    ("short", f"speech under {SHORT_S:g} s", lambda each: each.duration < SHORT_S),
    ("long", f"speech over {LONG_S:g} s", lambda each: each.duration > LONG_S),
    ("noisy", f"noisy speech (said so, or under {NOISY_DB:g} dB)", _is_noisy),
    ("telephone", f"telephone speech (said so, or under {TELEPHONE_HZ:g} Hz)", _is_telephone),
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
        degradation=_less(after.wer, before),
        interval=Interval(differences[0].low, differences[0].high) if differences else None,
    )


def _heard_in_silence(test_set: TestSet, scores: Sequence[UtteranceScore | None]) -> float | None:
    """Words a minute."""
    words = seconds = 0.0
    for each, found in zip(test_set.utterances, scores, strict=True):
        if found is not None and not found.words.reference:
            words += found.words.insertions
            seconds += each.duration
    return round(60 * words / seconds, 2) if seconds else None


def _confidence(
    heard: Sequence[Heard], scores: Sequence[UtteranceScore | None]
) -> tuple[float | None, float | None]:
    """Mean confidence, and the share of the heard words that are right; both in percent."""
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


def _less(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else round(one - other, 4)
