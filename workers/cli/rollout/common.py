"""What the subcommands of `chorus rollout` have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from workers import exit_codes
from workers.cli.common import fail

if TYPE_CHECKING:
    from schemas.model_reference import ModelReference
    from schemas.settings import RegistrySettings, Settings
    from serve_app.registry.registry import Registry
    from serve_app.rollout.records import Rollout, Rollouts

ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="Name of the model in the settings.")
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        envvar="RAY_ADDRESS",
        help="Address of the Ray cluster. Default: the `chorus serve` of this machine that has "
        "these settings.",
    ),
]


def followed(settings: Settings, model: str) -> ModelReference:
    """The alias that a model of the settings follows; ends the process where it follows none."""
    from schemas.decoding import nearest
    from schemas.model_reference import followed_alias

    if model not in settings.models:
        fail(
            f"the settings have no model `{model}`; {nearest(model, settings.models)}",
            exit_codes.SETTINGS,
        )
    reference = followed_alias(settings.models[model].model)
    if reference is None:
        fail(
            f"models.{model} is {settings.models[model].source}, which no rollout can change: "
            f"serve what an alias names, with `model: {model}@production`",
            exit_codes.SETTINGS,
        )
    return reference


def registry_settings(settings: Settings) -> RegistrySettings:
    """The section `registry`, or its defaults."""
    from schemas.settings import RegistrySettings

    return settings.registry or RegistrySettings()


def registry_of(settings: Settings) -> Registry:
    """The registry of the settings."""
    from serve_app.registry.registry import Registry
    from serve_app.registry.store import open_store

    return Registry(open_store(registry_settings(settings).url))


def open_rollouts(settings: Settings) -> Rollouts:
    """The rollouts of the settings' registry."""
    from serve_app.rollout.records import Rollouts

    return Rollouts(registry_of(settings).store)


def under_way(settings: Settings, model: str) -> Rollout:
    """The rollout of a model that is under way; ends the process if there is none."""
    reference = followed(settings, model)
    found = open_rollouts(settings).last(reference.name, str(reference.alias))
    if found is None:
        fail(
            f"no rollout of {model} was ever begun; `chorus rollout start {model} --candidate "
            "VERSION` begins one",
            exit_codes.FAILURE,
        )
    if found.end is not None:
        fail(
            f"the last rollout of {model} has ended: {found.end.kind.replace('_', ' ')} by "
            f"{found.end.by} at {found.end.at}{': ' + found.end.why if found.end.why else ''}",
            exit_codes.FAILURE,
        )
    return found


def find_cluster(settings: Settings, address: str | None) -> str:
    """The address of the cluster where the application of the settings runs."""
    from schemas.settings import settings_digest
    from serve_app.cluster.announcements import OtherSettingsError, find

    try:
        where = address or settings.serve.address
        return where or find(settings.serve.app, settings_digest(settings))
    except OtherSettingsError as error:
        fail(str(error), exit_codes.SETTINGS)
