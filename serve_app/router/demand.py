"""How much audio each model transcribes per record of a stream, so that models scale by its lag."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field

from schemas.requests import Backlog
from serve_app.scaling.demand import Demand

#: So many records are remembered; what is older weighs less and less.
_MEMORY = 2000.0


@dataclass
class _Heard:
    records: float = 0.0
    audio_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))


class StreamDemand:
    """Counts what the records of each consumer group ask of the models."""

    def __init__(self) -> None:
        self._groups: dict[str, _Heard] = defaultdict(_Heard)

    def heard(self, group: str, model: str, seconds: float) -> None:
        """Count a clip of a record of `group` that a model transcribed."""
        self._groups[group].audio_s[model] += seconds

    def done(self, group: str, records: int) -> None:
        """Count records of `group` that are done, whatever became of them."""
        found = self._groups[group]
        found.records += records
        if found.records > _MEMORY:
            found.records /= 2
            for model in found.audio_s:
                found.audio_s[model] /= 2

    def audio_s(self, group: str) -> dict[str, float] | None:
        """Seconds of audio per record, by model; None before any record of the group is done."""
        found = self._groups.get(group)
        if found is None or not found.records:
            return None
        return {model: seconds / found.records for model, seconds in found.audio_s.items()}

    def of(self, group: str, backlog: Backlog) -> Demand | None:
        """What a group wants; None before any record of it is done.

        Args:
            group: the consumer group.
            backlog: what waits for it.
        """
        audio_s = self.audio_s(group)
        if audio_s is None:
            return None
        return Demand(at=time.time(), backlog=backlog, audio_s=audio_s)
