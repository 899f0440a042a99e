"""`chorus compare`: compare the accuracy and speed of models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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
    from collections.abc import Mapping, Sequence

    from workers.evaluation.comparison.results import Comparison
    from workers.evaluation.statistics.intervals import Difference


def compare(
    models: Annotated[list[str], typer.Argument(metavar="MODEL", help=SYSTEM_HELP)],
    manifest: Annotated[
        list[str],
        typer.Option(
            "--manifest",
            "-m",
            help="Test set: a manifest, NAME=PATH, or - for standard input; repeatable.",
        ),
    ],
    settings_file: OptionalSettings = None,
    report: Annotated[Path | None, typer.Option(help="Write an HTML report to this file.")] = None,
    output: OutputOption = None,
    csv: Annotated[
        Path | None, typer.Option(help="Write the table of results to this file, as CSV.")
    ] = None,
    slice_by: SliceOption = None,
    work: WorkOption = None,
    skip_faults: SkipOption = False,
    normaliser: NormaliserOption = DEFAULT_NORMALISER,
    as_json: JsonOption = False,
) -> None:
    """Compare models on test sets: WER with intervals, speed, and significance of differences.

    The last line of the output is one JSON object with the WER of each model on each set.
    """
    settings = settings_of(settings_file, models)
    with errors_for_people(interruption(work)):
        from serve_app.system.files import named
        from workers.evaluation import compare as run
        from workers.evaluation.systems.naming import as_systems
        from workers.manifests.destination import destination

        check_outputs([output, csv, report], manifest)
        systems = as_systems(models, settings)  # a wrong name is told before sets are read
        sets = read_sets(manifest, skip_faults, settings)
        with progress_bars() as bars:
            found = run(
                systems,
                sets,
                settings=settings,
                slice_by=slice_by,
                folder=work,
                normaliser=normaliser_named(normaliser),
                report=bars,
            )
        if output is not None:
            with destination(output) as place:
                found.save(place)
        if csv is not None:
            with destination(csv) as place, named(place):
                found.frame().to_csv(place, index=False)
        if report is not None:
            from workers.evaluation.report import write_report

            with destination(report) as place:
                write_report(found, place)
    if not as_json:
        _show(found)
    print_json(_figures(found))


def _figures(found: Comparison) -> dict[str, object]:
    wer: dict[str, dict[str, float | None]] = {}
    for each in found.results:
        wer.setdefault(each.system, {})[each.test_set] = each.score.wer
    sets = {each.name: each.utterances for each in found.sets}
    return {"sets": sets, "wer": wer, "normaliser": found.normaliser}


def _show(found: Comparison) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    for info in found.sets:
        title = f"{info.name}: {info.utterances} utterances, {info.seconds / 60:.1f} min"
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        table.add_column("model")
        for name in ("WER %", "95%", "CER %", "sub", "del", "ins", "mean", "median", "RTFx"):
            table.add_column(name, justify="right")
        rows = [each for each in found.results if each.test_set == info.name]
        best = min((each.score.wer for each in rows if each.score.wer is not None), default=None)
        for each in rows:
            score, words = each.score, each.score.words
            between = each.interval
            table.add_row(
                each.system,
                percent(score.wer),
                f"{between.low:.1f}-{between.high:.1f}" if between else "-",
                percent(score.cer),
                str(words.substitutions),
                str(words.deletions),
                str(words.insertions),
                percent(score.mean_wer),
                percent(score.median_wer),
                "-" if each.rtfx is None else f"{each.rtfx:.0f}",
                style="bold" if score.wer is not None and score.wer == best else None,
            )
        console.print(table)
        pairs = next(each.pairs for each in found.differences if each.test_set == info.name)
        for text in _differences({each.system: each.score.wer for each in rows}, pairs):
            console.print(f"  {text}")
        console.print()
    if found.overall:
        rates = {each.system: each.score.wer for each in found.overall}
        listed = ", ".join(f"{name} {percent(rate)}%" for name, rate in rates.items())
        console.print(f"WER over all sets: {listed}")
        for text in _differences(rates, found.overall_differences):
            console.print(f"  {text}")
    console.print(f"normaliser: {found.normaliser}")
    for system in found.systems:
        if system.text_rules:
            console.print(f"{system.name}: written by text rules {', '.join(system.text_rules)}")


def _differences(rates: Mapping[str, float | None], pairs: Sequence[Difference]) -> list[str]:
    """Sentences that compare the best system with each of the others."""
    known = {name: rate for name, rate in rates.items() if rate is not None}
    if not pairs or not known:
        return []
    best = min(known, key=known.__getitem__)
    texts = []
    for each in pairs:
        if best not in (each.a, each.b):
            continue
        other = each.b if best == each.a else each.a
        low, high = sorted((abs(each.low), abs(each.high)))
        if each.significant:
            by = f"by {abs(each.wer):.1f} points (95%: {low:.1f} to {high:.1f})"
            texts.append(f"{best} is better than {other} {by}")
        else:
            texts.append(f"{best} is not shown to be better than {other} (p {each.p_adjusted:.2f})")
    return texts
