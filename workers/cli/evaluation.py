"""What `chorus benchmark`, `compare` and `validate` share: models, test sets, progress, errors."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workers import exit_codes
from workers.cli.common import DEFAULT_SETTINGS, fail

if TYPE_CHECKING:
    from schemas.settings import Settings
    from workers.evaluation.recognition import Report
    from workers.evaluation.testset import TestSet

MODEL_HELP = "A .nemo file, a version's folder, NAME=PATH, or a model of the settings."
SYSTEM_HELP = f"{MODEL_HELP[:-1]}; or one of their plans, or `auto` for their rules."
OptionalSettings = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        "-s",
        envvar="CHORUS_SETTINGS",
        help="Settings file; chorus.yaml where there is one.",
    ),
]
SkipOption = Annotated[
    bool, typer.Option("--skip-faults", help="Leave out lines of a manifest that are not right.")
]
WorkOption = Annotated[
    Path | None,
    typer.Option(
        "--work", help="Folder of finished work: the same command after a kill does what is left."
    ),
]
SliceOption = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY", help="Key of the manifest to slice by; repeatable."),
]


def settings_of(path: Path | None) -> Settings | None:
    """The settings, if a file is named or there is one by the usual name."""
    from schemas.settings import load_settings

    if path is None and DEFAULT_SETTINGS.exists():
        path = DEFAULT_SETTINGS
    return load_settings(path) if path is not None else None


def read_sets(manifests: list[str], skip_faults: bool) -> list[TestSet]:
    """The test sets, read and measured; each text is ``path`` or ``name=path``."""
    from workers.evaluation.testset import read_test_set

    sets = []
    for text in manifests:
        name, equals, path = text.partition("=")
        print(f"reading {Path(path if equals else text).name} ...", file=sys.stderr)
        sets.append(
            read_test_set(
                path if equals else text, name if equals else None, skip_faults=skip_faults
            )
        )
    return sets


@contextmanager
def errors_for_people() -> Iterator[None]:
    """What is wrong with the input ends the command with 2 and a message, not a traceback."""
    warnings.filterwarnings("ignore")  # of libraries; none of them is for the user
    from serve_app.audio import AudioError
    from serve_app.engines.errors import EngineError
    from workers.speech import ManifestFaultsError

    try:
        yield
    except ManifestFaultsError as error:
        for fault in error.faults:
            print(fault, file=sys.stderr)
        count = len(error.faults)
        fail(
            f"{count} {'fault' if count == 1 else 'faults'}; correct the manifest, or leave such "
            "lines out with --skip-faults",
            exit_codes.SETTINGS,
        )
    except (EngineError, AudioError, ValueError) as error:
        fail(str(error), exit_codes.SETTINGS)
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}", exit_codes.SETTINGS)
    except KeyboardInterrupt:
        print("interrupted; with --work the same command does what is left", file=sys.stderr)
        raise


@contextmanager
def progress_bars() -> Iterator[Report]:
    """A bar for each system in a terminal, a line for each elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Left

    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Left())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        tasks = {}

        def report(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
                if not console.is_terminal:
                    console.print(f"{name}: {done} of {total} utterances are done")
            bar.update(tasks[name], completed=done)

        yield report


def percent(value: float | None) -> str:
    """`value` for people; a dash where there is none."""
    return "-" if value is None else f"{value:.1f}"
