"""Several systems on the same test sets: accuracy, speed, and which differences are real."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from schemas.settings import ModelSettings
from serve_app.wer import NORMALISER
from workers.evaluation.intervals import Bootstrap, Difference, Interval
from workers.evaluation.recognition import Heard, Report, Task, recognise, speed
from workers.evaluation.results import Result
from workers.evaluation.scores import Score, UtteranceScore, pool, score_utterance
from workers.evaluation.slices import Slice, by_duration, by_field, by_snr, fields_of
from workers.evaluation.systems import Named, SystemInfo, as_systems
from workers.evaluation.testset import TestSet, read_test_set

if TYPE_CHECKING:
    import pandas

#: Utterances with the most errors that a comparison keeps for each system and set.
WORST = 10


class SetInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A test set.

    Attributes:
        sha256: of its manifest.
        seconds: of audio.
        left_out: lines of the manifest that were at fault, where that was allowed.
        drawn: what the intervals draw: "speakers" or "utterances", and how many there are.
    """

    name: str
    sha256: str
    utterances: int
    seconds: float
    left_out: int
    drawn: str
    blocks: int


class SliceScore(msgspec.Struct, frozen=True, kw_only=True):
    """Accuracy on a part of a set, see `workers.evaluation.slices`."""

    field: str
    value: str
    score: Score


class Worst(msgspec.Struct, frozen=True, kw_only=True):
    """An utterance with many errors."""

    id: str
    duration: float
    reference: str
    hypothesis: str
    errors: int
    wer: float | None


class SetResult(msgspec.Struct, frozen=True, kw_only=True):
    """One system on one set.

    Attributes:
        score: accuracy.
        interval: of the pooled WER, 95%.
        rtfx: seconds of audio by seconds of work, reading the audio not counted.
        samples_per_second: utterances by seconds of work.
        slices: the score of each part that has utterances.
        worst: those with the most errors.
    """

    system: str
    test_set: str
    score: Score
    interval: Interval | None
    rtfx: float | None
    samples_per_second: float | None
    slices: list[SliceScore]
    worst: list[Worst]


class SetDifferences(msgspec.Struct, frozen=True, kw_only=True):
    """Every pair of systems on one set."""

    test_set: str
    pairs: list[Difference]


class UtteranceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One utterance by one system; rates in percent."""

    system: str
    test_set: str
    id: str
    duration: float
    speaker: str
    snr_db: float | None
    bandwidth_hz: float | None
    text: str | None
    pred_text: str | None
    confidence: float | None
    wer: float | None
    errors: int | None
    reference_words: int | None


class Comparison(Result):
    """What `compare` found; `frame` and `utterance_frame` are for pandas.

    Attributes:
        made: UTC, ISO 8601.
        normaliser: of the texts, see `serve_app.wer`.
        systems: what was compared, with the GPU memory that each took at most, in GiB.
    """

    made: str
    normaliser: str
    systems: list[SystemInfo]
    gpu_memory_gb: dict[str, float]
    sets: list[SetInfo]
    results: list[SetResult]
    differences: list[SetDifferences]
    utterances: list[UtteranceRow]

    def frame(self) -> pandas.DataFrame:
        """One row for each system and set.

        The columns of NeMo Curator's tutorial have its names: `model_name`, `model_type`,
        `domain`, `real_time_factor` (which is RTFx: more is faster), `samples_per_second`,
        `gpu_memory_gb`, `mean_wer`, `excellent_ratio` (0 to 1), `memory_per_sample`. The headline
        is `wer`, pooled, in percent, with its interval.
        """
        import pandas as pd

        info = {each.name: each for each in self.systems}
        rows = []
        for each in self.results:
            score, memory = each.score, self.gpu_memory_gb[each.system]
            rows.append(
                {
                    "model_name": each.system,
                    "model_type": info[each.system].type,
                    "domain": info[each.system].domain,
                    "test_set": each.test_set,
                    "utterances": score.utterances,
                    "wer": score.wer,
                    "wer_low": each.interval.low if each.interval else None,
                    "wer_high": each.interval.high if each.interval else None,
                    "cer": score.cer,
                    "substitutions": score.words.substitutions,
                    "deletions": score.words.deletions,
                    "insertions": score.words.insertions,
                    "reference_words": score.words.reference,
                    "failed": score.failed,
                    "mean_wer": score.mean_wer,
                    "median_wer": score.median_wer,
                    "wer_std": score.wer_std,
                    "excellent_ratio": _ratio(score.excellent_rate),
                    "real_time_factor": each.rtfx,
                    "samples_per_second": each.samples_per_second,
                    "gpu_memory_gb": memory,
                    "memory_per_sample": memory / max(1, score.utterances),
                }
            )
        return pd.DataFrame(rows)

    def utterance_frame(self) -> pandas.DataFrame:
        """One row for each system and utterance, see `UtteranceRow`."""
        import pandas as pd

        return pd.DataFrame([msgspec.structs.asdict(each) for each in self.utterances])


def compare(
    models: Sequence[Named],
    manifests: Sequence[str | Path | TestSet],
    *,
    settings: Mapping[str, ModelSettings] | None = None,
    slice_by: Sequence[str] | None = None,
    folder: str | Path | None = None,
    skip_faults: bool = False,
    report: Report = lambda name, done, total: None,
) -> Comparison:
    """Compare systems on test sets, one system after the other. Blocks while they run.

    Args:
        models: paths of `.nemo` files or versions' folders, ``name=path``, names in `settings`, or
            systems (`ModelSystem`, `FunctionSystem`).
        manifests: NeMo manifests, or sets that have been read.
        settings: models by name, as in a settings file.
        slice_by: keys of the manifest to slice by; None takes those with few values and enough
            utterances of each.
        folder: what has been recognised is kept there, and not done again after a kill.
        skip_faults: leave out lines of a manifest that are not right.
        report: told the system, how many utterances it has done, and how many there are.

    Raises:
        ManifestFaultsError: a manifest has faults; it lists them all.
        ValueError: a model does not exist, two models or sets have one name, or no utterance has a
            key to slice by.
        EngineError: a system cannot be loaded, or fails on any audio.
        OSError: a file cannot be read or written.
    """
    systems = as_systems(models, settings)
    sets = [
        each if isinstance(each, TestSet) else read_test_set(each, skip_faults=skip_faults)
        for each in manifests
    ]
    _check_names(sets)
    slices = {each.name: slices_of(each, slice_by) for each in sets}
    _check_keys(slice_by or [], slices.values())
    where = Path(folder) if folder is not None else None
    tasks = [Task(each.name, each) for each in sets]
    recognised = {
        system.name: recognise(system, tasks, folder=where, report=report) for system in systems
    }
    results: list[SetResult] = []
    differences: list[SetDifferences] = []
    rows: list[UtteranceRow] = []
    infos: list[SetInfo] = []
    for each in sets:
        heard = {name: found.heard[each.name] for name, found in recognised.items()}
        scores = {name: score(each, rows) for name, rows in heard.items()}
        bootstrap = Bootstrap(each.speakers, each.scored)
        for name in heard:
            results.append(
                _result(name, each, heard[name], scores[name], slices[each.name], bootstrap)
            )
            rows += _rows(name, each, heard[name], scores[name])
        pairs = bootstrap.differences(scores)
        differences.append(SetDifferences(test_set=each.name, pairs=pairs))
        infos.append(set_info(each, bootstrap))
    return Comparison(
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        normaliser=NORMALISER,
        systems=[found.info for found in recognised.values()],
        gpu_memory_gb={name: found.gpu_memory_gb for name, found in recognised.items()},
        sets=infos,
        results=results,
        differences=differences,
        utterances=rows,
    )


def score(test_set: TestSet, heard: Sequence[Heard]) -> list[UtteranceScore | None]:
    """The score of each utterance; None where it has no reference."""
    return [
        score_utterance(each.text, row.pred_text) if each.has_text else None
        for each, row in zip(test_set.utterances, heard, strict=True)
    ]


def slices_of(test_set: TestSet, slice_by: Sequence[str] | None) -> list[Slice]:
    """By duration, by noise, and by keys of the manifest; those without utterances left out."""
    utterances = test_set.utterances
    fields = fields_of(utterances) if slice_by is None else slice_by
    found = by_duration(utterances) + by_snr(utterances)
    for field in fields:
        found += by_field(utterances, field)
    return [each for each in found if each.indices]


def slice_scores(
    slices: Sequence[Slice], scores: Sequence[UtteranceScore | None]
) -> list[SliceScore]:
    """The score of each slice."""
    return [
        SliceScore(
            field=each.field, value=each.value, score=pool(scores[index] for index in each.indices)
        )
        for each in slices
    ]


def _check_names(sets: Sequence[TestSet]) -> None:
    if not sets:
        raise ValueError("no test set is given")
    names = [each.name for each in sets]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two test sets are called {', '.join(twice)}; name them: NAME=PATH")


def _check_keys(slice_by: Sequence[str], slices: Iterable[Sequence[Slice]]) -> None:
    known = {each.field for some in slices for each in some}
    unknown = [key for key in slice_by if key not in known]
    if unknown:
        raise ValueError(f"no utterance has the key {', '.join(unknown)} to slice by")


def _result(
    name: str,
    test_set: TestSet,
    heard: Sequence[Heard],
    scores: Sequence[UtteranceScore | None],
    slices: Sequence[Slice],
    bootstrap: Bootstrap,
) -> SetResult:
    fast = speed(heard)
    return SetResult(
        system=name,
        test_set=test_set.name,
        score=pool(scores),
        interval=bootstrap.interval(scores),
        rtfx=round(fast[0], 2) if fast else None,
        samples_per_second=round(fast[1], 2) if fast else None,
        slices=slice_scores(slices, scores),
        worst=_worst(test_set, heard, scores),
    )


def _worst(
    test_set: TestSet, heard: Sequence[Heard], scores: Sequence[UtteranceScore | None]
) -> list[Worst]:
    rows = zip(test_set.utterances, heard, scores, strict=True)
    wrong = [
        Worst(
            id=each.id,
            duration=round(each.duration, 3),
            reference=each.text,
            hypothesis=row.pred_text or "",
            errors=found.words.errors,
            wer=found.wer,
        )
        for each, row, found in rows
        if found is not None and found.words.errors
    ]
    return sorted(wrong, key=lambda each: (-each.errors, each.id))[:WORST]


def _rows(
    name: str,
    test_set: TestSet,
    heard: Sequence[Heard],
    scores: Sequence[UtteranceScore | None],
) -> list[UtteranceRow]:
    return [
        UtteranceRow(
            system=name,
            test_set=test_set.name,
            id=each.id,
            duration=round(each.duration, 3),
            speaker=each.speaker,
            snr_db=each.measures.get("audio.snr_db"),
            bandwidth_hz=each.measures.get("audio.bandwidth_hz"),
            text=each.text if each.has_text else None,
            pred_text=row.pred_text,
            confidence=row.confidence,
            wer=found.wer if found else None,
            errors=found.words.errors if found else None,
            reference_words=found.words.reference if found else None,
        )
        for each, row, found in zip(test_set.utterances, heard, scores, strict=True)
    ]


def set_info(test_set: TestSet, bootstrap: Bootstrap) -> SetInfo:
    return SetInfo(
        name=test_set.name,
        sha256=test_set.sha256,
        utterances=len(test_set.utterances),
        seconds=round(test_set.seconds, 2),
        left_out=test_set.left_out,
        drawn=bootstrap.unit,
        blocks=bootstrap.blocks,
    )


def _ratio(percent: float | None) -> float | None:
    return None if percent is None else percent / 100
