"""What all messages that Chorus writes have in common, and those of the metrics topic."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from schemas.metrics import MetricsEvent
from schemas.versions import SCHEMA_VERSION, VERSION_HEADER

#: What the value of a message is.
FORMAT_HEADERS = ((VERSION_HEADER, SCHEMA_VERSION), ("content-type", b"application/json"))


class OutputMessage(NamedTuple):
    """One message to send."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]

    @property
    def size(self) -> int:
        """Bytes before compression, without the few that Kafka adds."""
        headers = sum(len(key) + len(value) + 10 for key, value in self.headers)
        return len(self.key or b"") + len(self.value or b"") + headers + 100


def metrics_message(topic: str, event: MetricsEvent) -> OutputMessage:
    """A metrics event for `topic`; keyed by its worker, so one worker's events stay in order."""
    value = msgspec.json.encode(event)
    return OutputMessage(topic, event.worker.encode(), value, list(FORMAT_HEADERS))
