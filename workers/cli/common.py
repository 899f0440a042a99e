"""What the subcommands share: options, messages, logging."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

SettingsOption = Annotated[
    Path,
    typer.Option(
        "--settings", "-s", envvar="CHORUS_SETTINGS", help="Settings file.", show_default=True
    ),
]
DEFAULT_SETTINGS = Path("chorus.yaml")
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def fail(message: str, code: int) -> NoReturn:
    """End the process with `code` after an error message on standard error."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)


def print_json(value: Any) -> None:
    """One JSON object on a line of its own, at once."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def set_up_logging() -> None:
    """Logs of a long-running command go to standard error; ids and codes only, never speech."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    # kafka-python logs several errors a second while a broker is down; ours say what matters
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    for noisy in ("ray", "nemo_logger", "nv_one_logger"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
