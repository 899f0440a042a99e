"""The dead letter: a record that was given up, kept whole so that it can be replayed.

The message's value is the original one, byte for byte, and so are its headers, and its key if it
had one. What Chorus adds is in headers of its own, named `chorus.*`, after those of Kafka Streams'
dead-letter queue. `DeadLetter` is the readable view of such a message.

What became of a letter is a message after it, a `LetterMark`: letters are replayed once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from schemas.failures import ErrorCode, FailureClass
from schemas.versions import SCHEMA_VERSION, VERSION_HEADER, check_version

HEADER_PREFIX = "chorus."
#: Header with the version of the `chorus.*` headers; `VERSION_HEADER` is that of the record.
_OWN_VERSION = HEADER_PREFIX + VERSION_HEADER


class DeadLetter(msgspec.Struct, kw_only=True):
    """What the `chorus.*` headers of a dead letter say.

    Attributes:
        id: id of the record, or ``topic-partition-offset`` where it had none or was unreadable.
        failure: failure class that it was given up under.
        code: exact reason.
        message: the reason in words, with the key or the file at fault.
        attempts: how often it was tried.
        topic: topic that it came from.
        partition: partition that it came from.
        offset: its offset there.
        group: consumer group that gave it up.
        timestamp: when it was given up, Unix time in seconds.
        keyless: whether the record had no key; the letter's own is ``topic-partition-offset``,
            since a compacted topic takes no message without one.
        value_omitted: bytes of the record's value, where that was too large to be kept, or 0 where
            it could not be read; the letter has none, and cannot be replayed.
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
    keyless: bool = False
    value_omitted: int | None = None

    @property
    def source(self) -> str:
        """``topic-partition-offset`` of the record."""
        return f"{self.topic}-{self.partition}-{self.offset}"


class LetterMark(msgspec.Struct, kw_only=True, frozen=True):
    """What became of a dead letter: a message in the same partition, with headers alone.

    Attributes:
        mark: "replayed", its record was sent to its topic again, in the same transaction; or
            "dropped", somebody has decided that it is done with.
        letter: offset of the dead letter, in the mark's partition.
        timestamp: when, Unix time in seconds.
        by: who did it; empty where that is not known.
        edited: whether another value was sent than the letter's.
    """

    mark: Literal["replayed", "dropped"]
    letter: int
    timestamp: float
    by: str = ""
    edited: bool = False


Headers = list[tuple[str, bytes]]
ReadHeaders = list[tuple[str, bytes | None]]


def to_headers(letter: DeadLetter) -> Headers:
    """`letter` as Kafka headers, `chorus.<field>` each, and the version of their format."""
    keys = {key: value for key, value in msgspec.to_builtins(letter).items() if value is not None}
    if not letter.keyless:
        del keys["keyless"]
    headers = [(HEADER_PREFIX + key, str(value).encode()) for key, value in keys.items()]
    return [*headers, (_OWN_VERSION, SCHEMA_VERSION)]


def mark_headers(mark: LetterMark) -> Headers:
    """`mark` as Kafka headers, `chorus.<field>` each."""
    keys = msgspec.to_builtins(mark)
    headers = [(HEADER_PREFIX + key, str(value).encode()) for key, value in keys.items()]
    return [*headers, (_OWN_VERSION, SCHEMA_VERSION)]


def mark_from(headers: Iterable[tuple[str, bytes | None]]) -> LetterMark | None:
    """The mark that a message's headers hold; None where they are another message's.

    Raises:
        SchemaVersionError: as `from_headers`.
    """
    headers = list(headers)
    check_version(headers, "dead letter", _OWN_VERSION)
    try:
        return msgspec.convert(_own(headers), LetterMark, strict=False)
    except msgspec.ValidationError:
        return None


def from_headers(headers: Iterable[tuple[str, bytes | None]]) -> DeadLetter:
    """Read the view back from a message's headers.

    Raises:
        msgspec.ValidationError: a header is missing or malformed: it is not a dead letter.
        SchemaVersionError: it was written by a newer version of Chorus, in another format.
    """
    headers = list(headers)
    check_version(headers, "dead letter", _OWN_VERSION)
    return msgspec.convert(_own(headers), DeadLetter, strict=False)


def _own(headers: ReadHeaders) -> dict[str, str]:
    """The texts of Chorus's own headers, by their names without the prefix."""
    prefix = len(HEADER_PREFIX)
    return {
        key[prefix:]: (value or b"").decode(errors="replace")
        for key, value in headers
        if key.startswith(HEADER_PREFIX)
    }


def original_headers(headers: Iterable[tuple[str, bytes | None]]) -> list[tuple[str, bytes | None]]:
    """The headers that the record had before it was dead-lettered."""
    return [(key, value) for key, value in headers if not key.startswith(HEADER_PREFIX)]
