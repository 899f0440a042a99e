"""The last messages of a topic, to look something up among them."""

from __future__ import annotations

from collections.abc import Iterator

from workers.console.topics import Topics
from workers.kafka.protocols import Record

#: Silences of the topic until it is taken for read: at the start a broker takes a moment.
_SILENT, _SILENT_AT_FIRST = 3, 15


def recent(topics: Topics, topic: str, last: int) -> Iterator[Record]:
    """About the last messages of a topic, until nothing comes, or as many have.

    Args:
        topics: reads Kafka.
        topic: its name.
        last: at most so many.

    Raises:
        Exception: as `Topics.follow`.
    """
    silent = count = 0
    for message in topics.follow(topic, last):
        if message is None:
            silent += 1
            if silent >= (_SILENT if count else _SILENT_AT_FIRST):
                return
            continue
        silent, count = 0, count + 1
        yield message
        if count >= last:
            return
