"""The files of a rollout: what was begun, what was done since, and what has been observed."""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.settings import RolloutSettings

#: What happens to a rollout. The last four end it.
EventKind = Literal["paused", "resumed", "promoted", "rolled_back", "aborted", "superseded"]
ENDS: frozenset[EventKind] = frozenset({"promoted", "rolled_back", "aborted", "superseded"})


class RolloutPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A rollout, as it was begun; it is never changed.

    Attributes:
        name: of the model in the registry.
        alias: that names the incumbent, and is moved when the candidate is promoted.
        number: of the rollout, from 1 for each alias.
        app: name of the Serve application that it is for, `serve.app` of its settings.
        model: name of the model in those settings.
        incumbent: version that the alias named.
        candidate: version that is compared with it.
        rules: shares, thresholds and limits.
        by: who began it.
        at: when, UTC, ISO 8601.
        why: in words.
    """

    name: str
    alias: str
    number: int
    app: str
    model: str
    incumbent: str
    candidate: str
    rules: RolloutSettings
    by: str
    at: str
    why: str = ""

    @property
    def id(self) -> str:
        """Names the rollout among all of a registry."""
        return f"{self.name}@{self.alias}#{self.number}"


class RolloutEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was done to a rollout, by a person or by the rules; it is never changed.

    Attributes:
        kind: "paused" or "resumed"; "promoted" when the alias was moved to the candidate,
            "rolled_back" when the rules ended it, "aborted" when a person did, "superseded" when
            the alias was moved to another version meanwhile.
        by: who did it; "chorus" for the rules.
        at: when, UTC, ISO 8601.
        why: in words.
    """

    kind: EventKind
    by: str
    at: str
    why: str = ""
