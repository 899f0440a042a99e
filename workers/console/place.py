"""The place of a message, as links name it."""

from __future__ import annotations

import re
from typing import NamedTuple, Self

_PLACE = re.compile(r"([A-Za-z0-9._-]{1,249})-([0-9]{1,9})-([0-9]{1,18})", re.ASCII)


class Place(NamedTuple):
    """A topic, a partition of it, and an offset there; written `TOPIC-PARTITION-OFFSET`."""

    topic: str
    partition: int
    offset: int

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The place that a text names; None if it names none."""
        found = _PLACE.fullmatch(text)
        return cls(found[1], int(found[2]), int(found[3])) if found else None

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}-{self.offset}"
