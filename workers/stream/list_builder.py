"""Grouping single records into the lists that the Router is called with."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from workers.stream.pending_record import PendingRecord


class ListBuilder:
    """Full lists leave at once; a partial one only when it helps.

    A partial list leaves when the backend has nothing else to do, and the topic has nothing more
    to bring or the list has waited for `linger_s`. While the backend is busy it stays and fills.

    Args:
        size: records in a full list.
        linger_s: longest wait of a partial list for an idle backend.
    """

    def __init__(self, size: int, linger_s: float) -> None:
        self._size = size
        self._linger_s = linger_s
        self._partial: list[PendingRecord] = []
        self._since = 0.0

    @property
    def waiting(self) -> int:
        """Records in the partial list."""
        return len(self._partial)

    def add(self, records: Iterable[PendingRecord], now: float) -> list[list[PendingRecord]]:
        """Take `records` in order; returns the lists that they fill."""
        full = []
        for record in records:
            if not self._partial:
                self._since = now
            self._partial.append(record)
            if len(self._partial) == self._size:
                full.append(self._partial)
                self._partial = []
        return full

    def release(self, now: float, *, idle: bool, nothing_more: bool) -> list[PendingRecord]:
        """The partial list if it may leave now, else an empty list.

        Args:
            now: monotonic time in seconds.
            idle: the backend has room for a call at once.
            nothing_more: the last poll brought nothing.
        """
        if not self._partial or not idle:
            return []
        if not nothing_more and now - self._since < self._linger_s:
            return []
        released, self._partial = self._partial, []
        return released

    def discard(self, keep: Callable[[PendingRecord], bool]) -> None:
        """Drop the records that `keep` refuses (their partition is gone)."""
        self._partial = [record for record in self._partial if keep(record)]
