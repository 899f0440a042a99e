"""The interface of a store of recordings, whichever protocol it speaks."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from schemas.failures import ErrorCode
from serve_app.audio.errors import AudioError
from serve_app.audio.remote.locations import Location

#: Statuses that say that the server, or the way to it, is in trouble: worth another try.
TRANSIENT = frozenset({408, 425, 429, *range(500, 600)})


class Wanted(NamedTuple):
    """What is asked of a store.

    Attributes:
        location: the object.
        start: its first byte that is wanted.
        stop: the byte behind the last one; may be beyond the end.
        version: entity tag of the version that the bytes must be of.
        known: entity tag of a version that need not be sent.
    """

    location: Location
    start: int
    stop: int
    version: str | None = None
    known: str | None = None


class Sent(NamedTuple):
    """What a store has sent.

    Attributes:
        size: of the whole object, in bytes.
        version: its entity tag, if it has one.
        start: the first byte that was written.
        stop: the byte behind the last one.
    """

    size: int
    version: str | None
    start: int
    stop: int


class Reader(Protocol):
    """Objects below a root. Called from several threads at once.

    Attributes:
        knows_ranges: whether no more is ever written than what was wanted.
    """

    knows_ranges: bool

    def read(self, wanted: Wanted, file: int) -> Sent | None:
        """Write a range of an object into a file, at its place there.

        A store that knows no ranges writes the object from its start.

        Args:
            wanted: the range.
            file: descriptor.

        Returns:
            None if the object is of the version `wanted.known`.

        Raises:
            AudioError: there is no such object, it may not be read, it is larger than allowed, or
                it cannot be read just now, after some tries.
            OSError: writing failed.
        """
        ...


def missing() -> AudioError:
    """The error of an object that is not there."""
    return AudioError(
        ErrorCode.AUDIO_MISSING, "no such object under `audio.roots`; check `audio_filepath`"
    )


def refused(reason: str) -> AudioError:
    """The error of an object that may not be read; `reason` is the store's."""
    return AudioError(
        ErrorCode.AUDIO_UNREADABLE,
        f"its store refuses to give it ({reason}); check what these credentials may read",
    )


def unavailable(reason: str) -> AudioError:
    """The error of a store that is in trouble; `reason` names nothing of the object."""
    return AudioError(
        ErrorCode.AUDIO_IO, f"could not be fetched just now: {reason}; it is tried again"
    )


def changed() -> AudioError:
    """The error of an object that was replaced between two requests."""
    return unavailable("it was replaced meanwhile")


def too_large(size: int, max_bytes: int) -> AudioError:
    """The error of an object of `size` bytes."""
    return AudioError(
        ErrorCode.AUDIO_TOO_LARGE,
        f"has {size} bytes, `audio.max_bytes` is {max_bytes}; split it",
    )
