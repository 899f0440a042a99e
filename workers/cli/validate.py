"""`chorus validate`: may this model go on?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workers import exit_codes
from workers.cli.common import JsonOption, print_json
from workers.cli.evaluation import (
    SYSTEM_HELP,
    OptionalSettings,
    SkipOption,
    SliceOption,
    WorkOption,
    errors_for_people,
    percent,
    progress_bars,
    read_sets,
    settings_of,
)

if TYPE_CHECKING:
    from workers.evaluation.validation import Validation


def validate(
    model: Annotated[str, typer.Argument(help=SYSTEM_HELP)],
    manifest: Annotated[
        str, typer.Option("--manifest", "-m", help="Test set: a manifest, or NAME=PATH.")
    ],
    settings_file: OptionalSettings = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write all results as JSON here.")
    ] = None,
    max_wer: Annotated[
        float | None, typer.Option(help="Fail above this WER in percent; beside the settings.")
    ] = None,
    stressed: Annotated[
        int, typer.Option(help="Utterances to make harder, drawn at random; 0 for none.")
    ] = 200,
    slice_by: SliceOption = None,
    work: WorkOption = None,
    skip_faults: SkipOption = False,
    as_json: JsonOption = False,
) -> None:
    """Accuracy, weak spots and stress of a model, what to do, and whether it passes.

    Exits with 7 when a threshold of `validation` in the settings is not met, or cannot be shown to
    be met by the test set. The last line is one JSON object.
    """
    with errors_for_people():
        from msgspec.structs import replace

        from schemas.settings import ValidationSettings
        from workers.evaluation import validate as run

        settings = settings_of(settings_file)
        thresholds = settings.validation if settings is not None else ValidationSettings()
        if max_wer is not None:
            thresholds = replace(thresholds, max_wer=max_wer)
        (test_set,) = read_sets([manifest], skip_faults)
        with progress_bars() as bars:
            found = run(
                model,
                test_set,
                thresholds=thresholds,
                settings=settings,
                slice_by=slice_by,
                stressed=stressed,
                folder=work,
                report=bars,
            )
        if output is not None:
            found.save(output)
    if not as_json:
        _show(found)
    print_json(
        {
            "passed": found.passed,
            "wer": found.findings.score.wer,
            "failed_checks": [each.key for each in found.checks if not each.passed],
            "recommendations": [each.code for each in found.recommendations],
        }
    )
    if not found.passed:
        sys.exit(exit_codes.NOT_PASSED)


def _show(found: Validation) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    score, between = found.findings.score, found.findings.interval
    spread = f" (95%: {between.low:.1f} to {between.high:.1f})" if between else ""
    words = score.words
    console.print(
        f"{found.system.name} on {found.test_set.name}: WER {percent(score.wer)}%{spread}, "
        f"CER {percent(score.cer)}%, {score.utterances} utterances\n"
        f"{words.substitutions} substitutions, {words.deletions} deletions, "
        f"{words.insertions} insertions in {words.reference} words; by utterance: "
        f"mean {percent(score.mean_wer)}%, median {percent(score.median_wer)}%, "
        f"standard deviation {percent(score.wer_std)}\n"
        f"{score.without_reference} without a reference, {score.empty_references} where nothing "
        f"is said, {score.failed} failed; normaliser {found.normaliser}\n"
    )
    table = Table(box=None, pad_edge=False)
    table.add_column("part")
    for name in ("utterances", "WER %", "against the whole"):
        table.add_column(name, justify="right")
    for each in found.findings.slices:
        count = each.score.utterances
        table.add_row(each.name, str(count), percent(each.score.wer), _points(each.degradation))
    console.print(table)
    console.print()
    if found.findings.stresses:
        table = Table(box=None, pad_edge=False)
        table.add_column("stress")
        for name in ("utterances", "WER %", "against clean", "95%"):
            table.add_column(name, justify="right")
        for stress in found.findings.stresses:
            inside = stress.interval
            table.add_row(
                stress.name,
                str(stress.score.utterances),
                percent(stress.score.wer),
                _points(stress.degradation),
                f"{inside.low:+.1f} to {inside.high:+.1f}" if inside else "-",
            )
        console.print(table)
        console.print()
    for check in found.checks:
        mark = "passed" if check.passed else "FAILED"
        value = check.reason or f"{check.value:g}"
        console.print(f"{mark}  {check.key} {check.limit:g}: {value}")
    for number, advice in enumerate(found.recommendations, 1):
        console.print(f"{number}. {advice.message}")
    if not found.recommendations:
        console.print("nothing to recommend")


def _points(value: float | None) -> str:
    return "-" if value is None else f"{value:+.1f}"
