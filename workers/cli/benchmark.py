"""`chorus benchmark`: how fast, how large, how accurate."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workers.cli.common import JsonOption, print_json
from workers.cli.evaluation import (
    MODEL_HELP,
    OptionalSettings,
    SkipOption,
    WorkOption,
    errors_for_people,
    percent,
    read_sets,
    settings_of,
)

if TYPE_CHECKING:
    from rich.table import Table

    from workers.evaluation.benchmarking import Benchmark


#: Passes on an idle machine differ by less, from the fastest to the slowest.
QUIET_PERCENT = 5.0


class Way(StrEnum):
    """Ways to measure."""

    ENGINE = "engine"
    SERVING = "serving"


def benchmark(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help=MODEL_HELP)],
    manifest: Annotated[
        str, typer.Option("--manifest", "-m", help="Test set: a manifest, or NAME=PATH.")
    ],
    settings_file: OptionalSettings = None,
    path: Annotated[
        list[Way] | None, typer.Option(help="Measure this way only; both if left out.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Timed passes through the set.")] = 5,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of a model; 1 for a file.")
    ] = None,
    batch_seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Padded seconds of audio in a batch.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write all results as JSON here.")
    ] = None,
    work: WorkOption = None,
    skip_faults: SkipOption = False,
    as_json: JsonOption = False,
) -> None:
    """RTFx, latency, memory, load time and accuracy: of the engine alone, and when it serves.

    Each measurement runs in a process of its own. Let nothing else run beside it. The last line
    is one JSON object.
    """
    with errors_for_people():
        from workers.evaluation import benchmark as run

        settings = settings_of(settings_file)
        (test_set,) = read_sets([manifest], skip_faults)
        found = run(
            models,
            test_set,
            settings=settings,
            paths=[each.value for each in path or Way],
            repeats=repeats,
            threads=threads,
            batch_seconds=batch_seconds,
            folder=work,
            say=lambda doing: print(f"{doing} ...", file=sys.stderr),
        )
        if output is not None:
            found.save(output)
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
        f"{found.test_set}: {found.utterances} utterances, {found.seconds / 60:.1f} min, the "
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
    for model in found.models:
        console.print(
            f"{model.name}: batches of {model.batch_seconds:g} s, {model.threads} threads, "
            f"{model.dtype}; sha256 {model.sha256[:12]}"
        )
        for each in model.paths:
            if each.rtfx.spread > QUIET_PERCENT:
                console.print(
                    f"{model.name}, {each.path}: the passes differ by {each.rtfx.spread:.0f}%, so "
                    "something else runs on this machine or beside it; take more --repeats",
                    style="yellow",
                )
    console.print(found.protocol)


def _table(*columns: str) -> Table:
    """For a row a model and path."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("model")
    table.add_column("path")
    for name in columns:
        table.add_column(name, justify="right")
    return table
