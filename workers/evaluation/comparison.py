"""Several systems on the same test sets: accuracy, speed, and which differences are real."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from serve_app.wer import NORMALISER
from workers.evaluation.comparison_results import (
    Comparison,
    SetDifferences,
    SetInfo,
    SetResult,
    UtteranceRow,
)
from workers.evaluation.comparison_scoring import (
    overall_results,
    score,
    set_info,
    set_result,
    utterance_rows,
)
from workers.evaluation.comparison_slices import slices_of
from workers.evaluation.intervals import REPLICATES, Bootstrap
from workers.evaluation.naming import Known, Named, as_systems
from workers.evaluation.recognition import Report, Task, recognise
from workers.evaluation.testset import TestSet, read_test_set


def compare(
    models: Sequence[Named],
    manifests: Sequence[str | Path | TestSet],
    *,
    settings: Known | None = None,
    slice_by: Sequence[str] | None = None,
    folder: str | Path | None = None,
    skip_faults: bool = False,
    report: Report = lambda name, done, total: None,
) -> Comparison:
    """Compare systems on test sets, one system after the other. Blocks while they run.

    Args:
        models: paths of `.nemo` files or versions' folders, ``name=path``, names in `settings`
            ("auto" for its rules), or systems (`ModelSystem`, `PlanSystem`, `FunctionSystem`).
        manifests: NeMo manifests, or sets that have been read.
        settings: models and plans by name: a settings file, or just its models.
        slice_by: keys of the manifest to slice by; None takes those with few values and enough
            utterances of each, within a set or over all sets together.
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
    slices = slices_of(sets, slice_by)
    where = Path(folder) if folder is not None else None
    tasks = [Task(each.name, each) for each in sets]
    recognised = {
        system.name: recognise(system, tasks, folder=where, report=report) for system in systems
    }
    # by system, then in the order of the sets
    heard = {name: [found.heard[each.name] for each in sets] for name, found in recognised.items()}
    scores = {
        name: [score(each, rows) for each, rows in zip(sets, of_sets, strict=True)]
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
        normaliser=NORMALISER,
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
        raise ValueError("no test set is given")
    names = [each.name for each in sets]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two test sets are called {', '.join(twice)}; name them: NAME=PATH")
