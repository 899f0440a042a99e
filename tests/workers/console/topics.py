"""Topics in memory, in place of Kafka's."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from schemas.transcript import Transcript, encode_transcript
from workers.console.place import Place
from workers.kafka.protocols import Record

TRANSCRIPTS, METRICS = "asr.transcripts", "asr.metrics"


@dataclass
class Message:
    """A message; see `Record`."""

    topic: str
    offset: int
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp: int = 0
    partition: int = 0
    key: bytes | None = None
    leader_epoch: int | None = None


class MemoryTopics:
    """Topics of one partition each; `down` is what every call raises, if it is set."""

    def __init__(self) -> None:
        self._messages: dict[str, list[Message]] = defaultdict(list)
        self._more = threading.Condition()
        self.down: Exception | None = None

    def add(
        self,
        topic: str,
        value: bytes | None,
        headers: tuple[tuple[str, bytes | None], ...] = (),
        timestamp: float | None = None,
    ) -> Place:
        """Commit a message, now unless a Unix time is given."""
        with self._more:
            log = self._messages[topic]
            when = int(1000 * (time.time() if timestamp is None else timestamp))
            log.append(Message(topic, len(log), value, headers, when))
            self._more.notify_all()
            return Place(topic, 0, len(log) - 1)

    def say(self, transcript: Transcript, *headers: tuple[str, bytes | None]) -> Place:
        """Commit a transcript."""
        return self.add(TRANSCRIPTS, encode_transcript(transcript), headers)

    def follow(self, topic: str, last: int) -> Iterator[Record | None]:
        """See `workers.console.topics.Topics`."""
        at = max(0, len(self._messages[topic]) - last)
        while True:
            with self._more:
                if self.down is not None:
                    raise self.down
                if at == len(self._messages[topic]):
                    self._more.wait(0.05)
                found = self._messages[topic][at:]
            yield from cast(list[Record], found)
            at += len(found)
            if not found:
                yield None

    def message(self, place: Place) -> Record | None:
        """See `workers.console.topics.Topics`."""
        if self.down is not None:
            raise self.down
        log = self._messages[place.topic] if place.partition == 0 else []
        return cast(Record, log[place.offset]) if place.offset < len(log) else None
