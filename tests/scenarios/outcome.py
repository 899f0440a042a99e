"""How a scenario ends: what is wrong on the console, the figures as JSON, and an exit code."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

from rich.console import Console

from workers import exit_codes


def exit_code_of(
    run: Callable[[], tuple[dict[str, Any], list[str]]],
    failures: tuple[type[Exception], ...],
    console: Console,
    name: str = "",
) -> int:
    """Run a scenario and report it; 0 if nothing is wrong.

    SIGINT and SIGTERM interrupt it, so that what it has started is stopped.

    Args:
        run: returns the figures and what is wrong.
        failures: what ends a run early: told in a line, not shown as a traceback.
        console: for people.
        name: in front of the line that tells a failure.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        figures, faults = run()
    except KeyboardInterrupt:
        return exit_codes.INTERRUPTED
    except failures as error:
        reason = f"{name} failed: {type(error).__name__}: {error}".lstrip()
        console.print(reason, style="red", markup=False)
        return 1
    for fault in faults:
        console.print(f"wrong: {fault}", style="red", markup=False)
    print(json.dumps(figures))
    return 1 if faults else 0
