"""What the consumer groups of stream workers want of the models of an application.

A Router notes it on the cluster, and the policies that scale read it there.
"""

from __future__ import annotations

import msgspec

from schemas.requests import Backlog
from serve_app.system.ray_notes import notes, put_note


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What a consumer group wants.

    Attributes:
        at: when, in seconds since 1970.
        backlog: what waits and arrives.
        audio_s: seconds of audio that each model has transcribed per record of the group, by the
            model's name; of records that several models transcribe it counts for each.
    """

    at: float
    backlog: Backlog
    audio_s: dict[str, float]


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
