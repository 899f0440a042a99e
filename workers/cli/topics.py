"""`chorus topics`: make the topics that the settings name."""

from __future__ import annotations

from typing import Annotated

import typer

from workers.cli.common import DEFAULT_SETTINGS, JsonOption, SettingsOption, print_json


def topics(
    settings_file: SettingsOption = DEFAULT_SETTINGS,
    partitions: Annotated[
        int, typer.Option(min=1, help="Of manifests and transcripts: the most workers at once.")
    ] = 6,
    replication: Annotated[
        int | None, typer.Option(min=1, help="Copies of each; the broker's default without it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Create the topics that do not exist yet; those that do are left as they are."""
    from schemas.settings import load_settings
    from workers.kafka.topics import ensure_settings_topics

    found = ensure_settings_topics(load_settings(settings_file).kafka, partitions, replication)
    if as_json:
        print_json(found)
    else:
        for name, count in found.items():
            print(f"{name}: {count} partition{'s' if count > 1 else ''}")
