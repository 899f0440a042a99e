"""`chorus topics`: create the Kafka topics that the settings name."""

from __future__ import annotations

from typing import Annotated

import typer

from workers.cli.common import DEFAULT_SETTINGS, JsonOption, SettingsOption, print_json


def topics(
    settings_file: SettingsOption = DEFAULT_SETTINGS,
    partitions: Annotated[
        int,
        typer.Option(
            min=1,
            help="Partitions of the manifest and transcript topics: the most workers at a time.",
        ),
    ] = 6,
    replication: Annotated[
        int | None,
        typer.Option(min=1, help="Replicas of each topic. Default: the broker's default."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Create the topics that the settings name; existing topics are left unchanged."""
    from schemas.settings import load_settings
    from workers.kafka.topics import ensure_settings_topics

    found = ensure_settings_topics(
        load_settings(settings_file, files=False).kafka, partitions, replication
    )
    if as_json:
        print_json(found)
    else:
        for name, count in found.items():
            print(f"{name}: {count} partition{'s' if count > 1 else ''}")
