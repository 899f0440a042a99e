"""What a command says while the models start, and what it refuses before they do."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workers import exit_codes
from workers.cli.common import fail

if TYPE_CHECKING:
    from schemas.settings import HttpSettings, Settings
    from schemas.settings.types import Fault


WorkerOption = Annotated[
    bool,
    typer.Option("--worker", help="Run the stream worker too, as a Ray Serve application."),
]
OpenOption = Annotated[
    bool,
    typer.Option("--open", help="Allow HTTP without API keys on an address that others can reach."),
]


class StartProgress:
    """Tells each part of an application as it comes up, with the seconds since the command began.

    Args:
        begun: time of the start on `time.monotonic`; now, unless given.
    """

    def __init__(self, begun: float | None = None) -> None:
        self._begun = time.monotonic() if begun is None else begun

    def say(self, text: str) -> None:
        """Print `text` after the elapsed time, to standard error."""
        seconds = time.monotonic() - self._begun
        print(f"{seconds:6.1f} s  {text}", file=sys.stderr, flush=True)

    def deployment(self, name: str, status: str) -> None:
        """`on_progress` of `serve_app.cluster.application.start`."""
        if status == "HEALTHY":
            self.say(f"{name} is ready")
        elif status == "UNHEALTHY":
            self.say(f"{name} does not start, and is tried again")


def say_missing(missing: Mapping[str, str]) -> None:
    """Print which models did not load and are not required, to standard error.

    Args:
        missing: the reason of each, by name.
    """
    for name, reason in missing.items():
        print(f"warning: going on without {name}, which did not load: {reason}", file=sys.stderr)


def refuse_absent_engines(settings: Settings, settings_file: Path) -> None:
    """End the process if an engine of one's own cannot be imported here.

    For a cluster that this command starts: the machines of another one may have other packages.
    """
    from serve_app.engines.available import engine_faults

    _refuse(list(engine_faults(settings.models)), settings_file)


def refuse_absent_secrets(settings: Settings, settings_file: Path, *, kafka: bool) -> None:
    """End the process if a secret that will be needed is not in the environment.

    For a cluster that this command starts, as above.

    Args:
        settings: checked settings.
        settings_file: where they are from.
        kafka: whether Kafka's secrets are needed too.

    Raises:
        SettingsError: one of Kafka's is absent.
    """
    from schemas.settings import api_key_faults, client_options

    if settings.http is not None:
        _refuse(list(api_key_faults(settings.http)), settings_file)
    if kafka:
        client_options(settings.kafka)


def open_door(http: HttpSettings, host: str | None = None) -> str | None:
    """What is to be said where other machines could use the API without a key; else None.

    Args:
        http: the section of the settings.
        host: address that the API listens on; that of the section, unless given.
    """
    from schemas.settings import is_loopback

    host = host or http.host
    if http.keys or is_loopback(host):
        return None
    return (
        f"the HTTP API would listen on {host} without `http.keys`: anybody who reaches this "
        "address could transcribe. Make a key with `chorus key`, or allow it with `chorus serve "
        "--open`"
    )


def _refuse(faults: list[Fault], settings_file: Path) -> None:
    from schemas.settings import key_place

    if faults:
        lines = [f"{key_place(settings_file, key)}: {reason}" for key, reason in faults]
        fail("\n".join(lines), exit_codes.SETTINGS)
