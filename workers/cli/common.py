"""Options, output and logging that the subcommands of `chorus` have in common."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from workers import exit_codes

DEFAULT_SETTINGS = Path("chorus.yaml")
#: The environment variable that names the settings file where no option does.
SETTINGS_VARIABLE = "CHORUS_SETTINGS"


def existing_settings(path: Path, named_by: str = "--settings") -> Path:
    """`path` if there is a file; else end the process with a message that says what named it.

    A relative path in the environment is easily carried into another folder.
    """
    if not path.is_file():
        _fail_without_settings(path, named_by)
    return path


def _fail_without_settings(path: Path, named_by: str) -> NoReturn:
    what = "is a folder" if path.is_dir() else "there is no such file"
    if from_environment(path):
        seen = "" if path.is_absolute() else f", seen from {Path.cwd()}"
        fail(
            f"{SETTINGS_VARIABLE}={path}: {what}{seen}; set this environment variable to the "
            "absolute path of your settings file",
            exit_codes.SETTINGS,
        )
    if path == DEFAULT_SETTINGS:
        fail(
            f"there is no {path} in {Path.cwd()}: name your settings file with --settings or in "
            f"{SETTINGS_VARIABLE}, or write one with `chorus init`",
            exit_codes.SETTINGS,
        )
    fail(f"{named_by} {path}: {what}", exit_codes.SETTINGS)


def _existing(path: Path) -> Path:
    """`existing_settings` as the callback of an option: it ends before anything is imported."""
    return existing_settings(path)


def from_environment(path: Path) -> bool:
    """Whether the environment names this settings file."""
    return str(path) == os.environ.get(SETTINGS_VARIABLE)


SettingsOption = Annotated[
    Path,
    typer.Option(
        "--settings",
        "-s",
        envvar=SETTINGS_VARIABLE,
        help="Settings file.",
        show_default=True,
        callback=_existing,
    ),
]
OptionalSettings = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        "-s",
        envvar=SETTINGS_VARIABLE,
        help="Settings file. Default: chorus.yaml, if it exists.",
    ),
]
ManifestArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="MANIFEST...",
        help="NeMo manifests, one JSON object per line; - for standard input. Shards are named as "
        "NeMo does, manifest__OP_0..7_CL_.json.",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print only JSON, for scripts, instead of text.")
]


def fail(message: str, code: int) -> NoReturn:
    """Print an error message to standard error and end the process with exit code `code`."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)


def fault_of(error: OSError) -> str:
    """What an error of the system says, with the file where there is one."""
    if error.filename is None:
        return str(error)
    return f"{error.filename}: {error.strerror}"


@contextmanager
def interruptible(message: str) -> Iterator[None]:
    """Let SIGTERM end the process by its cleanup, with 143; a second one at once.

    Args:
        message: what is printed then, and after a Ctrl-C within the block.
    """

    def end(signum: int, frame: object) -> NoReturn:
        signal.signal(signum, signal.SIG_DFL)
        print(message, file=sys.stderr)
        sys.exit(exit_codes.TERMINATED)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    except KeyboardInterrupt:
        print(message, file=sys.stderr)
        raise


def kafka_exit_code(error: Exception) -> int | None:
    """The exit code for an error of the Kafka client; None for any other error.

    It imports nothing of Kafka: most commands do without, and it may not be installed.
    """
    if not any(base.__module__.partition(".")[0] == "kafka" for base in type(error).__mro__):
        return None
    return exit_codes.UNREACHABLE if getattr(error, "retriable", False) else exit_codes.SETTINGS


def print_json(value: Any) -> None:
    """Print `value` as JSON on one line, without buffering."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def set_up_logging() -> None:
    """Send the logs of a long-running command to standard error, without the libraries' noise."""
    from serve_app.system.log_format import log_to_stderr

    log_to_stderr()
    # kafka-python logs several errors a second while a broker is down; Chorus logs the outage
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    for noisy in ("ray", "nemo_logger", "nv_one_logger"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
