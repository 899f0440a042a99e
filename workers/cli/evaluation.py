"""Common options, errors and progress of `chorus benchmark`, `calibrate`, `compare`, `validate`."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from workers import exit_codes
from workers.cli.common import (
    DEFAULT_SETTINGS,
    existing_settings,
    fail,
    fault_of,
    from_environment,
)

if TYPE_CHECKING:
    from schemas.settings import Settings
    from serve_app.scoring.wer import Normaliser
    from workers.evaluation.systems.recognition import ProgressCallback
    from workers.evaluation.testset import TestSet

_KINDS_OF_MODEL = (
    "A .nemo file, the folder of a fine-tuned version, NAME@ALIAS or NAME:VERSION of the registry, "
    "pretrained:NAME, NAME= before any of them, "
    "or the name of a model"
)
MODEL_HELP = f"{_KINDS_OF_MODEL} in the settings."
SYSTEM_HELP = f"{_KINDS_OF_MODEL} or plan in the settings; `auto` follows their routing rules."
SkipOption = Annotated[
    bool, typer.Option("--skip-faults", help="Leave out invalid lines of a manifest.")
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write all results to this file, as JSON.")
]
WorkOption = Annotated[
    Path | None,
    typer.Option(
        "--work",
        help="Folder for intermediate results: after an interruption, the same command resumes.",
    ),
]
#: `serve_app.scoring.wer.NORMALISER`, which is not imported for every command.
DEFAULT_NORMALISER = "nfkc-lower-words-v3"
NormaliserOption = Annotated[
    str,
    typer.Option(
        help="How texts are made comparable before errors are counted: `nfkc-lower-words-v3` "
        "(lower case, no punctuation), or `whisper-english` (also numbers, spellings and "
        "contractions of English, as in published figures of many models)."
    ),
]
SliceOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY", help="Report results for each value of this manifest key; repeatable."
    ),
]


def normaliser_named(name: str) -> Normaliser:
    """The normaliser of that name.

    Raises:
        ValueError: there is none.
    """
    from serve_app.scoring.wer import Normaliser

    known = get_args(Normaliser)
    if name not in known:
        raise ValueError(f"no normaliser {name!r}; there are: {', '.join(known)}")
    return cast("Normaliser", name)


def settings_of(path: Path | None, models: Sequence[str] | None = None) -> Settings | None:
    """Load the settings from `path`, else from chorus.yaml if it exists; None without either.

    Ends the process if there is no file at `path`.

    Args:
        path: as the command line or the environment names it.
        models: what is to be measured. Where all of it are files, only the option --settings makes
            the settings necessary: any other fault in them is told, and they are left out.

    Raises:
        SettingsError: the settings are wrong.
    """
    from schemas.settings import SettingsError, load_settings

    asked = path is not None and not from_environment(path)
    if path is None and DEFAULT_SETTINGS.exists():
        path = DEFAULT_SETTINGS
    if path is None:
        return None
    if asked or models is None or not all(map(_is_file, models)):
        return load_settings(existing_settings(path))
    try:
        return load_settings(path)
    except SettingsError as error:
        print(f"going on without settings, which no model here needs: {error}", file=sys.stderr)
        return None


def _is_file(model: str) -> bool:
    """Whether a command-line argument names a file or a folder: ``PATH`` or ``NAME=PATH``."""
    return Path(model).exists() or Path(model.partition("=")[2] or model).exists()


def read_sets(manifests: list[str], skip_faults: bool, settings: Settings | None) -> list[TestSet]:
    """Read and check test sets.

    Args:
        manifests: paths of manifests; each may have a name before it, as in ``name=path``.
        skip_faults: leave out invalid lines instead of raising.
        settings: relative audio paths are looked up under their roots too.

    Raises:
        ManifestFaultsError: lines of a manifest are invalid.
        ManifestFileError: a file as a whole is no manifest.
        OSError: a manifest cannot be read.
    """
    from workers.evaluation.systems.naming import roots_of, split_name
    from workers.evaluation.testset import read_test_set
    from workers.manifests.source import name_of

    roots = roots_of(settings)
    sets = []
    for name, path in map(split_name, manifests):
        print(f"reading {name_of(Path(path))} ...", file=sys.stderr)
        sets.append(read_test_set(path, name, skip_faults=skip_faults, roots=roots))
    return sets


def check_outputs(outputs: Iterable[Path | None], manifests: Iterable[str]) -> None:
    """Refuse to write results over a test set, or to where no file can be made.

    Raises:
        OSError: see `check_destination`.
        ValueError: one of `outputs` is the file of one of `manifests`, given as to `read_sets`.
    """
    from workers.evaluation.systems.naming import split_name
    from workers.manifests.destination import check_destination

    sets = [file for _, name in map(split_name, manifests) for file in _files(Path(name))]
    for output in filter(None, outputs):
        check_destination(output)
        if output.exists() and any(map(output.samefile, sets)):
            raise ValueError(f"{output}: is a test set; name another file for the results")


def _files(manifest: Path) -> list[Path]:
    from workers.manifests.files import manifest_files

    try:
        return [file for file in manifest_files(manifest) if file.exists()]
    except (OSError, ValueError):  # what reads it says why
        return []


def interruption(work: Path | None) -> str:
    """What a command says that was interrupted, by its --work."""
    if work is not None:
        return "interrupted; the same command resumes"
    return "interrupted; nothing is kept, which --work FOLDER would change"


@contextmanager
def errors_for_people(interrupted: str = "interrupted") -> Iterator[None]:
    """Turn errors in the user's input into a message and exit code 2, without a traceback.

    Args:
        interrupted: what is said after a Ctrl-C.
    """
    warnings.filterwarnings("ignore")  # warnings of libraries; none of them is for the user
    from serve_app.audio import AudioError
    from serve_app.engines.errors import EngineError
    from workers.manifests.speech import ManifestFaultsError

    try:
        yield
    except ManifestFaultsError as error:
        for fault in error.faults:
            print(fault, file=sys.stderr)
        count = len(error.faults)
        advice = ", or leave these lines out with --skip-faults"
        if error.nothing_left:
            advice = "; without these lines nothing is left of it"
        fail(
            f"{count} {'fault' if count == 1 else 'faults'}; correct the manifest{advice}",
            exit_codes.SETTINGS,
        )
    except (EngineError, AudioError, ValueError) as error:
        fail(str(error), exit_codes.SETTINGS)
    except OSError as error:
        fail(fault_of(error), exit_codes.SETTINGS)
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        raise


@contextmanager
def progress_bars() -> Iterator[ProgressCallback]:
    """Yield a callback that shows progress: a bar per system in a terminal, else one line each."""
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
    """Format a percentage with one decimal; None becomes a dash."""
    return "-" if value is None else f"{value:.1f}"
