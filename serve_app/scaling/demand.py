"""What the consumer groups of stream workers want of the models of an application.

A Router notes it on the cluster (`demand_notes`), and the policies that scale read it there.
"""

from __future__ import annotations

import msgspec

from schemas.requests import Backlog


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
