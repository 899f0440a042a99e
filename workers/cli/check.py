"""`chorus check`: is this settings file right?"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workers.cli.common import (
    DEFAULT_SETTINGS,
    JsonOption,
    OptionalSettings,
    existing_settings,
    print_json,
)
from workers.cli.console import open_console
from workers.cli.starting import open_door

if TYPE_CHECKING:
    from schemas.settings import Settings


def check(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="SETTINGS", help="Settings file, instead of --settings."),
    ] = None,
    settings_file: OptionalSettings = None,
    as_json: JsonOption = False,
) -> None:
    """Check a settings file without starting anything.

    Engines of your own are imported, model files looked at (not loaded), and the names of
    pretrained models looked up in NeMo's list.
    Secrets that it names are looked for in the environment. Exits with 0 when all is right, also
    with warnings, else with 2 and an error that names file, line and key.
    """
    from schemas.settings import (
        SettingsError,
        api_key_faults,
        broker_limit_faults,
        client_options,
        key_place,
        load_settings,
        plan_text,
    )

    named_by = "SETTINGS" if file is not None else "--settings"
    path = existing_settings(file or settings_file or DEFAULT_SETTINGS, named_by)
    settings = load_settings(path)
    client_options(settings.kafka)
    if importlib.util.find_spec("kafka"):  # without it nothing here talks to Kafka
        from workers.kafka.client_settings import checked_options

        checked_options(settings.kafka)
    faults = _model_faults(settings)
    if settings.http is not None:
        faults += api_key_faults(settings.http)
    faults += api_key_faults(settings.console)
    if faults:
        lines = [f"{key_place(path, key)}: {reason}" for key, reason in faults]
        raise SettingsError("\n".join(lines))
    if settings.http is not None and (reason := open_door(settings.http)):
        place = key_place(path, "http.host")
        print(f"warning: {place}: `chorus serve` will refuse this: {reason}", file=sys.stderr)
    if reason := open_console(settings.console):
        place = key_place(path, "console.host")
        print(f"warning: {place}: `chorus console` will refuse this: {reason}", file=sys.stderr)
    for key, reason in broker_limit_faults(settings.stream):
        print(f"warning: {key_place(path, key)}: {reason}", file=sys.stderr)
    rules = [(rule.name, rule.target) for rule in settings.routing.rules]
    rules.append(("default", settings.routing.default))
    if as_json:
        plans = list(settings.plans)
        print_json({"models": list(settings.models), "plans": plans, "rules": dict(rules)})
        return
    print(f"{path}: valid")
    parts = {name: model.engine for name, model in settings.models.items()}
    parts |= {name: plan_text(plan) for name, plan in settings.plans.items()}
    for name, part in parts.items():
        chosen = [rule for rule, target in rules if target == name]
        print(f"  {name:16} {part}, by rules: {', '.join(chosen) or 'none'}")


def _model_faults(settings: Settings) -> list[tuple[str, str]]:
    from serve_app.engines.available import (
        engine_faults,
        file_faults,
        language_faults,
        pretrained_faults,
    )

    found = [*engine_faults(settings.models), *file_faults(settings.models)]
    found += language_faults(settings)
    found += _registry_faults(settings)
    found += _digest_faults(settings)
    try:
        found += pretrained_faults(settings.models)
    except ModuleNotFoundError as error:
        print(
            f"the names of pretrained models were not checked: {error.name} is not installed",
            file=sys.stderr,
        )
    return found


def _digest_faults(settings: Settings) -> Iterator[tuple[str, str]]:
    """The files that are others than `sha256` says. Blocks while they are read."""
    from serve_app.system.files import sha256_of

    for name, model in settings.models.items():
        if model.sha256 is None or model.path is None or not Path(model.path).is_file():
            continue
        found = sha256_of(Path(model.path))
        if found != model.sha256:
            yield f"models.{name}.sha256", f"the file at `path` has the SHA-256 {found}"


def _registry_faults(settings: Settings) -> Iterator[tuple[str, str]]:
    from serve_app.registry.errors import RegistryFaultError, UnknownModelError
    from serve_app.registry.source import VersionSource

    for name, model in settings.models.items():
        if model.model is not None:
            try:
                VersionSource(model, settings.registry).card()
            except (UnknownModelError, RegistryFaultError, OSError, ValueError) as error:
                yield f"models.{name}.model", str(error)
