"""Grouping single works into batches for the Router."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from workers.stream.work import Work


class Batcher:
    """Full batches leave at once; a partial one only when it helps.

    A partial batch leaves when the backend has nothing else to do, and the topic has nothing more
    to bring or the batch has waited for `linger_s`. While the backend is busy it stays and fills.

    Args:
        size: works in a full batch.
        linger_s: longest wait of a partial batch for an idle backend.
    """

    def __init__(self, size: int, linger_s: float) -> None:
        self._size = size
        self._linger_s = linger_s
        self._partial: list[Work] = []
        self._since = 0.0

    @property
    def waiting(self) -> int:
        """Works in the partial batch."""
        return len(self._partial)

    def add(self, works: Iterable[Work], now: float) -> list[list[Work]]:
        """Take `works` in order; returns the batches that they fill."""
        full = []
        for work in works:
            if not self._partial:
                self._since = now
            self._partial.append(work)
            if len(self._partial) == self._size:
                full.append(self._partial)
                self._partial = []
        return full

    def release(self, now: float, *, idle: bool, nothing_more: bool) -> list[Work]:
        """The partial batch if it may leave now, else an empty list.

        Args:
            idle: the backend has room for a call at once.
            nothing_more: the last poll brought nothing.
        """
        if not self._partial or not idle:
            return []
        if not nothing_more and now - self._since < self._linger_s:
            return []
        batch, self._partial = self._partial, []
        return batch

    def discard(self, keep: Callable[[Work], bool]) -> None:
        """Drop the works that `keep` refuses (their partition is gone)."""
        self._partial = [work for work in self._partial if keep(work)]
