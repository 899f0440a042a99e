"""Compare systems on the same test sets: accuracy, speed, significance of the differences."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from serve_app.scoring.wer import NORMALISER, Normaliser
from workers.evaluation.comparison.results import (
    Comparison,
    SetDifferences,
    SetInfo,
    SetResult,
    UtteranceRow,
)
from workers.evaluation.comparison.scoring import (
    overall_results,
    score,
    set_info,
    set_result,
    utterance_rows,
)
from workers.evaluation.comparison.slices import slices_of
from workers.evaluation.statistics.intervals import REPLICATES, Bootstrap
from workers.evaluation.systems.naming import SettingsLike, SystemLike, as_systems, roots_of
from workers.evaluation.systems.recognition import ProgressCallback, Task, recognise
from workers.evaluation.testset import TestSet, read_test_set


def compare(
    models: Sequence[SystemLike],
    manifests: Sequence[str | Path | TestSet],
    *,
    settings: SettingsLike | None = None,
    slice_by: Sequence[str] | None = None,
    folder: str | Path | None = None,
    skip_faults: bool = False,
    normaliser: Normaliser = NORMALISER,
    report: ProgressCallback = lambda name, done, total: None,
) -> Comparison:
    """Compare systems on test sets, one system after the other. Blocks while they run.

    Args:
        models: paths of `.nemo` files or of folders of fine-tuned versions, ``name=path``, names of
            models or plans in `settings` ("auto" follows its routing rules), or systems
            (`ModelSystem`, `PlanSystem`, `FunctionSystem`).
        manifests: NeMo manifests, or test sets that have been read.
        settings: models and plans by name: loaded settings, or only their models.
        slice_by: keys of the manifest to slice by; None takes those with few values and enough
            utterances of each, within a set or over all sets together.
        folder: where finished recognition is kept, so that an interrupted call can resume.
        skip_faults: leave out invalid lines of a manifest, instead of raising.
        normaliser: makes texts comparable before errors are counted, see `serve_app.scoring.wer`.
        report: called with the system's name, how many utterances are done, and how many there are.

    Raises:
        ManifestFaultsError: a manifest has invalid lines; it lists them all.
        ValueError: a model does not exist, two models or two sets have the same name, or no
            utterance has a key to slice by.
        EngineError: a system cannot be loaded, or fails on all audio.
        OSError: a file cannot be read or written.
    """
    systems = as_systems(models, settings)
    roots = roots_of(settings)
    sets = [
        each
        if isinstance(each, TestSet)
        else read_test_set(each, skip_faults=skip_faults, roots=roots)
        for each in manifests
    ]
    _check_names(sets)
    slices = slices_of(sets, slice_by)
    where = Path(folder) if folder is not None else None
    tasks = [Task(each.name, each) for each in sets]
    recognised = {
        system.name: recognise(system, tasks, folder=where, report=report) for system in systems
    }
    # by system, then in the order of the sets
    heard = {name: [found.heard[each.name] for each in sets] for name, found in recognised.items()}
    scores = {
        name: [score(each, rows, normaliser) for each, rows in zip(sets, of_sets, strict=True)]
        for name, of_sets in heard.items()
    }
    infos: list[SetInfo] = []
    results: list[SetResult] = []
    differences: list[SetDifferences] = []
    utterances: list[UtteranceRow] = []
    for number, each in enumerate(sets):
        bootstrap = Bootstrap(each.speakers, each.scored)
        infos.append(set_info(each, bootstrap))
        for name in recognised:
            rows, found = heard[name][number], scores[name][number]
            results.append(set_result(name, each, rows, found, slices[each.name], bootstrap))
            utterances += utterance_rows(name, each, rows, found)
        pairs = bootstrap.differences({name: scores[name][number] for name in recognised})
        differences.append(SetDifferences(test_set=each.name, pairs=pairs))
    overall, overall_pairs = overall_results(sets, heard, scores) if len(sets) > 1 else ([], [])
    return Comparison(
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        normaliser=normaliser,
        replicates=REPLICATES,
        systems=[each.info for each in recognised.values()],
        gpu_memory_gb={name: each.gpu_memory_gb for name, each in recognised.items()},
        sets=infos,
        results=results,
        differences=differences,
        overall=overall,
        overall_differences=overall_pairs,
        utterances=utterances,
    )


def _check_names(sets: Sequence[TestSet]) -> None:
    if not sets:
        raise ValueError("no test set given")
    names = [each.name for each in sets]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"two test sets have the same name: {', '.join(twice)}; give names with NAME=PATH"
        )
