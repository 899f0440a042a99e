"""Holds: while one is on a version, garbage collection leaves it.

A replica holds the version that it serves, by a lease.

Who is about to finish or promote a version puts a hold on it, and then looks whether it is marked
as being removed. Garbage collection marks it first, and then looks for holds. So at least one of
them sees the other, whoever is killed at whatever moment.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

import msgspec

from serve_app.registry.provenance import now
from serve_app.registry.store import Store

_PREFIX = "hold-"
#: Who has held a version for longer was killed, and its hold counts no more.
_LONGEST = timedelta(hours=1)
#: How often a lease has to be renewed, in seconds.
RENEW_S = _LONGEST.total_seconds() / 3


@contextlib.contextmanager
def hold(store: Store, folder: str) -> Iterator[None]:
    """Put a hold on the version in `folder` for the block."""
    lease = Lease(store, folder)
    lease.renew()
    try:
        yield
    finally:
        lease.end()


class Lease:
    """A hold that lasts for an hour after it was renewed; none before the first time.

    Its methods raise `OSError` where the store cannot be written.

    Args:
        store: that has the version.
        folder: of the version.
    """

    def __init__(self, store: Store, folder: str) -> None:
        self._store = store
        self._folder = folder
        self._key: str | None = None

    def renew(self) -> None:
        """Hold the version from now on."""
        key, before = f"{self._folder}/{_PREFIX}{secrets.token_hex(8)}.json", self._key
        self._store.create(key, msgspec.json.encode({"at": now()}), new_folder=False)
        self._key = key
        if before is not None:
            self._store.remove(before)

    def end(self) -> None:
        """Hold it no more."""
        if self._key is not None:
            self._store.remove(self._key)


def is_held(store: Store, keys: Iterable[str], *, tidy: bool = False) -> bool:
    """Whether there is a hold among the keys of a version's folder. Reads each of them.

    Args:
        store: that has the version.
        keys: of its folder.
        tidy: whether the holds of the dead are removed.
    """
    held = False
    for key in filter(is_hold, keys):
        with contextlib.suppress(FileNotFoundError):  # released meanwhile
            since = msgspec.json.decode(store.read(key), type=dict[str, str])["at"]
            if datetime.now(UTC) - datetime.fromisoformat(since) < _LONGEST:
                held = True
            elif tidy:
                store.remove(key)
    return held


def is_hold(key: str) -> bool:
    """Whether a file of a version's folder is a hold."""
    return key.rpartition("/")[2].startswith(_PREFIX)
