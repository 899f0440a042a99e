"""`chorus console`: web pages on what comes out of the stream, and on the models."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workers import exit_codes
from workers.cli.common import DEFAULT_SETTINGS, SettingsOption, fail, set_up_logging

if TYPE_CHECKING:
    from schemas.settings import ConsoleSettings


_END_S = 5.0
#: Where a stream works on the same machine, its processes come first.
_NICE = 10


def console(
    settings_file: SettingsOption = DEFAULT_SETTINGS,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port to listen on. Default: `console.port`."),
    ] = None,
) -> None:
    """Serve the console until Ctrl-C: transcripts live, each one to be heard, models to be tried.

    It reads Kafka without a consumer group, and needs no cluster: what is not there is said on the
    page that needs it.
    """
    from schemas.settings import load_settings

    settings = load_settings(settings_file, files=False)
    if port is not None:
        settings.console.port = port
    if reason := open_console(settings.console):
        fail(reason, exit_codes.SETTINGS)
    set_up_logging()
    with suppress(OSError):
        os.nice(_NICE)
    from workers.console.serving import serve_console

    if not serve_console(settings):
        fail(
            f"cannot listen on {settings.console.host}:{settings.console.port}; is another "
            "console running? `--port` takes another one",
            exit_codes.FAILURE,
        )


@contextmanager
def console_beside(settings_file: Path | None) -> Iterator[None]:
    """Run a console in a process of its own while the block runs; None runs none.

    Whatever becomes of it, the block goes on.
    """
    if settings_file is None:
        yield
        return
    command = [sys.executable, "-m", "workers.cli", "console", "--settings", str(settings_file)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()


def open_console(console: ConsoleSettings) -> str | None:
    """What is to be said where other machines could use the console without a key; else None."""
    from schemas.settings import is_loopback

    if console.keys or is_loopback(console.host):
        return None
    return (
        f"the console would listen on {console.host} without `console.keys`: anybody who reaches "
        "this address could read and hear everything. Make a key with `chorus key`, or let "
        "`console.host` be 127.0.0.1"
    )
