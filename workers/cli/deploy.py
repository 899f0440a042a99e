"""`chorus deploy`: bring the settings about on a running Ray cluster, by a Serve config."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers import exit_codes
from workers.cli.common import DEFAULT_SETTINGS, SettingsOption, fail
from workers.cli.starting import (
    OpenOption,
    StartProgress,
    WorkerOption,
    open_door,
    say_missing,
)

if TYPE_CHECKING:
    from schemas.settings import Settings
    from workers.deploying.changes import Change
    from workers.deploying.cluster import Cluster

_WORDS = {
    "start": "starts",
    "restart": "restarts",
    "scale": "changes the number of its replicas, without a restart",
    "keep": "stays as it is",
    "remove": "is removed",
}


def deploy(
    settings_file: SettingsOption = DEFAULT_SETTINGS,
    address: Annotated[
        str,
        typer.Option(
            envvar="RAY_DASHBOARD_ADDRESS", help="URL of the dashboard of the Ray cluster."
        ),
    ] = "http://127.0.0.1:8265",
    file: Annotated[
        str | None,
        typer.Option(
            help="Path of the settings file on the nodes of the cluster. Without it, the settings "
            "themselves are deployed."
        ),
    ] = None,
    worker: WorkerOption = False,
    open_: OpenOption = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Say what would change, and change nothing.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the Serve config as YAML, and ask no cluster."),
    ] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Longest wait, in seconds.")] = 600.0,
) -> None:
    """Deploy the settings on a running Ray cluster; only what changed restarts.

    Each model, the Router, the HTTP API and the stream worker are Serve applications of their own.
    They stay when this command ends.
    """
    from schemas.settings import load_settings
    from workers.deploying.config import serve_config

    settings = load_settings(settings_file, files=False)
    if file is not None and settings != load_settings(settings_file, files=False, base=Path("/")):
        fail(
            f"--file: {settings_file} has relative paths, and the nodes have it in another place; "
            "make the paths in it absolute, or URLs",
            exit_codes.SETTINGS,
        )
    if settings.http is not None and not open_ and (reason := open_door(settings.http)):
        fail(reason, exit_codes.SETTINGS)
    config = serve_config(settings, file=file, worker=worker)
    if dry_run:
        import yaml

        yaml.safe_dump(config, sys.stdout, sort_keys=False)
        return
    try:
        _deploy(_cluster(address), settings, config, timeout_s=timeout, only_say=diff)
    except ConnectionError as error:
        fail(f"{address}: {error}", exit_codes.UNREACHABLE)
    except RuntimeError as error:  # of the start, or what Ray refuses
        fail(str(error), exit_codes.FAILURE)


def _deploy(
    cluster: Cluster,
    settings: Settings,
    config: dict[str, Any],
    *,
    timeout_s: float,
    only_say: bool,
) -> None:
    from serve_app.model.application import model_app
    from workers.deploying.changes import changes, to_deploy

    app, details = settings.serve.app, cluster.details()
    found = changes(config, details, app)
    for change in found:
        print(_line(change))
    if only_say:
        return
    kept = {change.name for change in found if change.kind == "keep"}
    cluster.deploy(to_deploy(config, details, app))
    progress = StartProgress()
    optional = [model_app(app, name) for name, each in settings.models.items() if not each.required]
    missing = cluster.wait(
        [each["name"] for each in config["applications"]],
        timeout_s,
        lambda name, state: (
            progress.say(f"{name}: {state.lower().replace('_', ' ')}") if name not in kept else None
        ),
        optional,
    )
    say_missing(missing)


def _line(change: Change) -> str:
    state = f" ({change.state.lower().replace('_', ' ')})" if change.state else ""
    return f"{change.name}{state} {_WORDS[change.kind]}"


def _cluster(address: str) -> Cluster:
    from workers.deploying.cluster import Cluster

    try:
        return Cluster(address)
    except ValueError:
        fail(f"--address {address}: not a URL; write http://HOST:8265", exit_codes.SETTINGS)
    except PermissionError as error:
        fail(
            f"{address}: {error}. The token of the cluster is read from ~/.ray/auth_token, or from "
            "where RAY_AUTH_TOKEN_PATH or RAY_AUTH_TOKEN say",
            exit_codes.SETTINGS,
        )
    except ConnectionError as error:
        said = f"no dashboard of Ray answers at {address}"
        fail(f"{said}; does the cluster run, with its dashboard? ({error})", exit_codes.UNREACHABLE)
