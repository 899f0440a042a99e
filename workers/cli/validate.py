"""`chorus validate`: check a model against the thresholds of the settings."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from workers import exit_codes
from workers.cli.common import JsonOption, OptionalSettings, print_json
from workers.cli.evaluation import (
    DEFAULT_NORMALISER,
    SYSTEM_HELP,
    NormaliserOption,
    OutputOption,
    SkipOption,
    SliceOption,
    WorkOption,
    check_outputs,
    errors_for_people,
    interruption,
    normaliser_named,
    percent,
    progress_bars,
    read_sets,
    settings_of,
)

if TYPE_CHECKING:
    from workers.evaluation.validation.results import Validation


def validate(
    model: Annotated[str, typer.Argument(help=SYSTEM_HELP)],
    manifest: Annotated[
        str,
        typer.Option(
            "--manifest", "-m", help="Test set: a manifest, NAME=PATH, or - for standard input."
        ),
    ],
    settings_file: OptionalSettings = None,
    output: OutputOption = None,
    max_wer: Annotated[
        float | None,
        typer.Option(
            help="Fail above this WER in percent; overrides `validation.max_wer` of the settings."
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Another model, named as MODEL is. Fail if the WER is more than "
            "`validation.max_wer_increase` points above that model's (5 unless set), or the speed "
            "below `validation.min_speed_ratio` of its speed (0.5 unless set).",
        ),
    ] = None,
    stressed: Annotated[
        int,
        typer.Option(
            help="Number of utterances, drawn at random, for the stress tests: added noise, "
            "telephone band, and so on. 0 for none."
        ),
    ] = 200,
    slice_by: SliceOption = None,
    work: WorkOption = None,
    skip_faults: SkipOption = False,
    normaliser: NormaliserOption = DEFAULT_NORMALISER,
    as_json: JsonOption = False,
) -> None:
    """Measure a model's accuracy, weak slices and robustness, and check it against thresholds.

    Exits with 7 when a threshold of `validation` in the settings is not met, when the test set
    cannot show that it is met, or when the model is worse than that of --baseline. The last line of
    the output is one JSON object.
    """
    settings = settings_of(settings_file)
    with errors_for_people(interruption(work)):
        from msgspec.structs import replace

        from schemas.settings import ValidationSettings
        from workers.evaluation import validate as run
        from workers.evaluation.systems.naming import as_systems
        from workers.manifests.destination import destination

        check_outputs([output], [manifest])
        (system,) = as_systems([model], settings)  # a wrong name is told before sets are read
        thresholds = settings.validation if settings is not None else ValidationSettings()
        if max_wer is not None:
            thresholds = replace(thresholds, max_wer=max_wer)
        (test_set,) = read_sets([manifest], skip_faults, settings)
        with progress_bars() as bars:
            found = run(
                system,
                test_set,
                baseline=baseline,
                thresholds=thresholds,
                settings=settings,
                slice_by=slice_by,
                stressed=stressed,
                folder=work,
                normaliser=normaliser_named(normaliser),
                report=bars,
            )
        if output is not None:
            with destination(output) as place:
                found.save(place)
    if not as_json:
        _show(found)
    print_json(
        {
            "passed": found.passed,
            "wer": found.findings.score.wer,
            "baseline_wer": found.findings.baseline and found.findings.baseline.score.wer,
            "normaliser": found.normaliser,
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
        f"{score.without_reference} without a reference, {score.empty_references} with an empty "
        f"reference, {score.failed} failed; normaliser {found.normaliser}"
        + (f"; text rules {', '.join(found.system.text_rules)}" * bool(found.system.text_rules))
        + "\n"
    )
    if (other := found.findings.baseline) is not None:
        inside = other.interval
        spread = f" (95%: {inside.low:+.1f} to {inside.high:+.1f})" if inside else ""
        ratio = "-" if other.speed_ratio is None else f"{other.speed_ratio:.2f}"
        console.print(
            f"baseline {other.name}: WER {percent(other.score.wer)}%; {found.system.name} has "
            f"{_points(other.increase)} points{spread} and {ratio} times its speed\n"
        )
    table = Table(box=None, pad_edge=False)
    table.add_column("slice")
    for name in ("utterances", "WER %", "vs. all"):
        table.add_column(name, justify="right")
    for each in found.findings.slices:
        count = each.score.utterances
        table.add_row(each.name, str(count), percent(each.score.wer), _points(each.degradation))
    console.print(table)
    console.print()
    if found.findings.stresses:
        table = Table(box=None, pad_edge=False)
        table.add_column("stress test")
        for name in ("utterances", "WER %", "vs. clean", "95%"):
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
        console.print("no recommendations")


def _points(value: float | None) -> str:
    return "-" if value is None else f"{value:+.1f}"
