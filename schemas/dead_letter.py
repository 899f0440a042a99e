"""The dead letter: a record that was given up, kept whole so that it can be replayed.

The message's key and value are the original ones, byte for byte, and so are its headers. What
Chorus adds is in headers of its own, named `chorus.*`, after those of Kafka Streams'
dead-letter queue. `DeadLetter` is the readable view of such a message.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from schemas.failures import ErrorCode, FailureClass

HEADER_PREFIX = "chorus."


class DeadLetter(msgspec.Struct, kw_only=True):
    """What the `chorus.*` headers of a dead letter say.

    Attributes:
        id: id of the record, or ``topic-partition-offset`` where it had none or was unreadable.
        failure: failure class that it was given up under.
        code: exact reason.
        message: the reason in words, with the key or the file at fault.
        attempts: how often it was tried.
        topic, partition, offset: where it came from.
        group: consumer group that gave it up.
        timestamp: Unix time in seconds.
    """

    id: str
    failure: FailureClass
    code: ErrorCode
    message: str
    attempts: int
    topic: str
    partition: int
    offset: int
    group: str
    timestamp: float


Headers = list[tuple[str, bytes]]


def to_headers(letter: DeadLetter) -> Headers:
    """`letter` as Kafka headers, `chorus.<field>` each."""
    keys = msgspec.to_builtins(letter)
    return [(HEADER_PREFIX + key, str(value).encode()) for key, value in keys.items()]


def from_headers(headers: Iterable[tuple[str, bytes | None]]) -> DeadLetter:
    """Read the view back from a message's headers.

    Raises:
        msgspec.ValidationError: a header is missing or malformed: not one of our dead letters.
    """
    prefix = len(HEADER_PREFIX)
    keys = {
        key[prefix:]: (value or b"").decode(errors="replace")
        for key, value in headers
        if key.startswith(HEADER_PREFIX)
    }
    return msgspec.convert(keys, DeadLetter, strict=False)


def original_headers(headers: Iterable[tuple[str, bytes | None]]) -> list[tuple[str, bytes | None]]:
    """The headers that the record had before it was dead-lettered."""
    return [(key, value) for key, value in headers if not key.startswith(HEADER_PREFIX)]
