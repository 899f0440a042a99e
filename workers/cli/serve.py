"""`chorus serve`: the models and the Router on Ray Serve."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workers import exit_codes
from workers.cli.common import DEFAULT_SETTINGS, SettingsOption, fail, set_up_logging

if TYPE_CHECKING:
    from schemas.settings import HttpSettings, Settings


#: Addresses that only this machine reaches.
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def serve(
    settings_file: SettingsOption = DEFAULT_SETTINGS,
    address: Annotated[
        str | None,
        typer.Option(envvar="RAY_ADDRESS", help="A running Ray cluster; starts one without it."),
    ] = None,
    worker: Annotated[
        bool, typer.Option("--worker", help="Run the stream worker too, as a Serve app.")
    ] = False,
    open_: Annotated[
        bool,
        typer.Option("--open", help="Answer HTTP without API keys at an address others reach."),
    ] = False,
    ready_file: Annotated[
        Path | None, typer.Option(help="Write the cluster's address here as JSON when ready.")
    ] = None,
) -> None:
    """Serve the models of the settings file until Ctrl-C."""
    from schemas.settings import load_settings

    settings = load_settings(settings_file)
    if address is not None:
        settings.serve.address = address
    if settings.http is not None and not open_:
        _check_closed(settings.http)
    set_up_logging()
    from serve_app import app

    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)  # interrupts a start that takes long
    try:
        running = app.start(settings, http=settings.http is not None)
    except app.StartError as error:
        fail(str(error), exit_codes.FAILURE)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:
        if worker:
            from workers.stream.deployment import deploy_worker

            deploy_worker(settings)
        print(f"serving {', '.join(settings.models)} on Ray at {running.address}", flush=True)
        if settings.http is not None:
            print(f"HTTP API at {_deploy_http(settings)}, described at /docs", flush=True)
        if ready_file is not None:
            write_ready_file(ready_file, {"address": running.address, "pid": os.getpid()})
        stopped.wait()
    finally:
        if settings.http is not None:
            _stop_http(settings)
        app.stop(running)


def _deploy_http(settings: Settings) -> str:
    from serve_app.app import StartError
    from serve_app.http.deployment import deploy_http

    try:
        return deploy_http(settings)
    except StartError as error:
        fail(str(error), exit_codes.FAILURE)


def _stop_http(settings: Settings) -> None:
    from serve_app.http.deployment import stop_http

    stop_http(settings)


def _check_closed(http: HttpSettings) -> None:
    """An API that others can reach has keys, unless it is meant to be open."""
    if not http.keys and http.host not in LOOPBACK:
        fail(
            f"`http.host` is {http.host} and there are no `http.keys`: everybody could transcribe. "
            "Make a key with `chorus key`, or say --open",
            exit_codes.SETTINGS,
        )


def write_ready_file(path: Path, content: dict[str, object]) -> None:
    """Write `content` so that a reader sees all of it or nothing."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(content))
    temporary.replace(path)
