"""Recordings that were fetched whole and are kept for a while, on disk, in files without a name.

They are for recordings of which many segments are asked. A store is asked each time whether it
still has the version that is kept.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

#: Most recordings: each is an open file.
_MOST = 256


class _Kept(NamedTuple):
    version: str
    file: int
    size: int


class KeptRecordings:
    """The recordings that were asked for last. Any number of threads may use it.

    Args:
        max_bytes: of all of them together.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._filling: defaultdict[Hashable, threading.Lock] = defaultdict(threading.Lock)
        self._waiting: defaultdict[Hashable, int] = defaultdict(int)

    def takes(self, size: int) -> bool:
        """Whether a recording of `size` bytes may be kept."""
        return size <= self._max_bytes

    def version(self, name: Hashable) -> str | None:
        """The version of a recording that is kept, if any."""
        with self._lock:
            kept = self._kept.get(name)
            return kept.version if kept is not None else None

    def open(self, name: Hashable, version: str | None) -> int | None:
        """A descriptor of a recording, at its start, for the caller to close; None if it is gone.

        Raises:
            OSError: it cannot be opened once more.
        """
        with self._lock:
            kept = self._kept.get(name)
            if kept is None or kept.version != version:
                return None
            self._kept.move_to_end(name)
            return os.open(f"/proc/self/fd/{kept.file}", os.O_RDONLY | os.O_CLOEXEC)

    def add(self, name: Hashable, version: str, file: int) -> None:
        """Keep a recording in place of its other version.

        Args:
            name: of the recording.
            version: its entity tag.
            file: descriptor of the whole of it, not closed.
        """
        try:
            copy = os.dup(file)
        except OSError:  # no descriptor is left: others need it more
            return
        with self._lock:
            self._drop(name)
            self._kept[name] = _Kept(version, copy, os.fstat(copy).st_size)
            while len(self._kept) > _MOST or self._bytes() > self._max_bytes:
                self._drop(next(iter(self._kept)))

    @contextmanager
    def filling(self, name: Hashable) -> Iterator[None]:
        """One thread at a time fetches a recording; others that want the same wait for it."""
        with self._lock:
            self._waiting[name] += 1
            lock = self._filling[name]
        try:
            with lock:
                yield
        finally:
            with self._lock:
                self._waiting[name] -= 1
                if not self._waiting[name]:
                    del self._waiting[name], self._filling[name]

    def _drop(self, name: Hashable) -> None:
        kept = self._kept.pop(name, None)
        if kept is not None:
            os.close(kept.file)

    def _bytes(self) -> int:
        return sum(each.size for each in self._kept.values())
