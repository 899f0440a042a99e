"""Notes on the cluster of what consumer groups want. Apart from `demand`: this imports Ray."""

from __future__ import annotations

import msgspec

from serve_app.scaling.demand import Demand
from serve_app.system.ray_notes import notes, put_note


def put_demand(app: str, group: str, demand: Demand) -> None:
    """Leave a note of what a group wants; it replaces an earlier one. Blocks.

    Args:
        app: `serve.app` of the settings.
        group: the consumer group.
        demand: what it wants.
    """
    put_note(_notes_of(app), group, msgspec.json.encode(demand).decode())


def demands(app: str) -> dict[str, Demand]:
    """What the groups want, by their names. Blocks.

    Args:
        app: `serve.app` of the settings.
    """
    return {
        group: msgspec.json.decode(text, type=Demand)
        for group, text in notes(_notes_of(app)).items()
    }


def _notes_of(app: str) -> str:
    return f"{app}-demand"
