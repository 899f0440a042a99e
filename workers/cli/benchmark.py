"""`chorus benchmark`: speed, memory and accuracy of models."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from workers.cli.common import JsonOption, OptionalSettings, print_json
from workers.cli.evaluation import (
    DEFAULT_NORMALISER,
    MODEL_HELP,
    NormaliserOption,
    OutputOption,
    SkipOption,
    WorkOption,
    check_outputs,
    errors_for_people,
    interruption,
    normaliser_named,
    percent,
    read_sets,
    settings_of,
)

if TYPE_CHECKING:
    from rich.table import Table

    from workers.evaluation.benchmarking.results import Benchmark


#: Largest spread between the fastest and the slowest pass that is expected on an idle machine.
QUIET_PERCENT = 5.0


class MeasuredPath(StrEnum):
    """What a benchmark measures: the engine alone, or the model as Ray Serve serves it."""

    ENGINE = "engine"
    SERVING = "serving"


def benchmark(
    models: Annotated[list[str], typer.Argument(metavar="MODEL", help=MODEL_HELP)],
    manifest: Annotated[
        str,
        typer.Option(
            "--manifest", "-m", help="Test set: a manifest, NAME=PATH, or - for standard input."
        ),
    ],
    settings_file: OptionalSettings = None,
    path: Annotated[
        list[MeasuredPath] | None,
        typer.Option(help="Measure only this path; without it, both. Repeatable."),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Timed passes over the test set.")] = 5,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="CPU threads per model. Default: as in the settings; 1 for a .nemo file.",
        ),
    ] = None,
    batch_seconds: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            help="Seconds of padded audio per batch. Default: as in the settings.",
        ),
    ] = None,
    output: OutputOption = None,
    work: WorkOption = None,
    skip_faults: SkipOption = False,
    normaliser: NormaliserOption = DEFAULT_NORMALISER,
    as_json: JsonOption = False,
) -> None:
    """Measure RTFx, latency, memory, load time and accuracy, of the engine alone and when served.

    Each measurement runs in its own process; run nothing else on the machine meanwhile. The last
    line of the output is one JSON object.
    """
    settings = settings_of(settings_file, models)
    with errors_for_people(interruption(work)):
        from workers.evaluation import benchmark as run
        from workers.evaluation.systems.naming import as_systems
        from workers.manifests.destination import destination

        check_outputs([output], [manifest])
        systems = as_systems(models, settings)  # a wrong name is told before sets are read
        (test_set,) = read_sets([manifest], skip_faults, settings)
        found = run(
            systems,
            test_set,
            settings=settings,
            paths=[each.value for each in path or MeasuredPath],
            repeats=repeats,
            threads=threads,
            batch_seconds=batch_seconds,
            folder=work,
            normaliser=normaliser_named(normaliser),
            say=lambda step: print(f"{step} ...", file=sys.stderr),
        )
        if output is not None:
            with destination(output) as place:
                found.save(place)
    if not as_json:
        _show(found)
    print_json(_figures(found))


def _figures(found: Benchmark) -> dict[str, object]:
    return {
        model.name: {
            each.path: {
                "rtfx": each.rtfx.median,
                "spread_percent": each.rtfx.spread,
                "latency_p50_ms": each.latency_ms.get("p50"),
                "wer": each.score.wer,
                "harness_percent": each.harness_percent,
            }
            for each in model.paths
        }
        for model in found.models
    }


def _show(found: Benchmark) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    console.print(
        f"{found.test_set}: {found.utterances} utterances, {found.seconds / 60:.1f} min, "
        f"longest {found.longest:.1f} s; {found.repeats} passes; {found.machine}"
    )
    speed = _table("RTFx", "± %", "utt/s", "p50 ms", "p99 ms", "load s", "host GB", "GPU GB")
    accuracy = _table("WER %", "CER %", "sub", "del", "ins", "words", "failed")
    for model in found.models:
        for each in model.paths:
            score, words = each.score, each.score.words
            speed.add_row(
                model.name,
                each.path,
                f"{each.rtfx.median:.1f}",
                f"{each.rtfx.spread / 2:.1f}",
                f"{each.samples_per_second.median:.1f}",
                f"{each.latency_ms.get('p50', float('nan')):.1f}",
                f"{each.latency_ms.get('p99', float('nan')):.1f}",
                f"{each.load_seconds:.1f}",
                f"{each.host_memory_gb:.2f}",
                "-" if each.gpu_memory_gb is None else f"{each.gpu_memory_gb:.2f}",
            )
            counts = (words.substitutions, words.deletions, words.insertions, words.reference)
            rates = (percent(score.wer), percent(score.cer))
            accuracy.add_row(model.name, each.path, *rates, *map(str, counts), str(score.failed))
    console.print(speed)
    console.print(accuracy)
    console.print(f"normaliser: {found.normaliser}")
    for model in found.models:
        console.print(
            f"{model.name}: batches of {model.batch_seconds:g} s, {model.threads} threads, "
            f"{model.dtype}; sha256 {model.sha256[:12]}"
            + (f"; text rules {model.text_rules}" if model.text_rules else "")
        )
        for each in model.paths:
            if each.rtfx.spread > QUIET_PERCENT:
                console.print(
                    f"{model.name}, {each.path}: the passes differ by {each.rtfx.spread:.0f}%; "
                    "something else may be using this machine. Stop it, or use more --repeats",
                    style="yellow",
                )
    console.print(found.protocol)


def _table(*columns: str) -> Table:
    """An empty table with one row for each model and path, and right-aligned `columns`."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("model")
    table.add_column("path")
    for name in columns:
        table.add_column(name, justify="right")
    return table
