"""What the subcommands of `chorus rollout` have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from workers import exit_codes
from workers.cli.common import fail

if TYPE_CHECKING:
    from schemas.settings import Settings

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


def find_cluster(settings: Settings, address: str | None) -> str:
    """The address of the cluster where the application of the settings runs."""
    from schemas.settings import settings_digest
    from serve_app.cluster.announcements import OtherSettingsError, find

    try:
        where = address or settings.serve.address
        return where or find(settings.serve.app, settings_digest(settings))
    except OtherSettingsError as error:
        fail(str(error), exit_codes.SETTINGS)
