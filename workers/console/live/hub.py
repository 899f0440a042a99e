"""Passes rows on to those who have the live page open, none of whom holds up another."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from workers.console.live.filters import Filter
from workers.console.live.rows import Row
from workers.console.place import Place

#: Rows that wait for one page; the oldest is dropped for one more.
MAX_WAITING = 40
#: Pages at once.
MAX_PAGES = 100


class TooManyPagesError(Exception):
    """So many have the page open that no more may."""


class Subscription:
    """The rows that wait for one page.

    Attributes:
        wanted: which rows.
        dropped: wanted rows that came too fast for the page, since it was opened.
    """

    def __init__(self, wanted: Filter) -> None:
        self.wanted = wanted
        self.dropped = 0
        self._waiting: deque[Row] = deque(maxlen=MAX_WAITING)

    def offer(self, rows: Sequence[Row]) -> None:
        """Put those of `rows` that are wanted at the end."""
        for row in rows:
            if self.wanted.takes(row):
                self.dropped += len(self._waiting) == MAX_WAITING
                self._waiting.append(row)

    def take(self) -> list[Row]:
        """The rows that wait, oldest first; they wait no more."""
        found = list(self._waiting)
        self._waiting.clear()
        return found


class Hub:
    """The latest rows, and the pages that wait for more. Belongs to one event loop.

    Args:
        recent: rows that are kept for pages that are opened later.

    Attributes:
        passed: rows that have come in all.
    """

    def __init__(self, recent: int) -> None:
        self._recent: deque[Row] = deque(maxlen=recent)
        self._pages: set[Subscription] = set()
        self.passed = 0

    def push(self, rows: Sequence[Row]) -> None:
        """Take rows in, oldest first."""
        self.passed += len(rows)
        self._recent.extend(rows)
        for page in self._pages:
            page.offer(rows)

    @contextmanager
    def subscribed(self, wanted: Filter, after: Place | None = None) -> Iterator[Subscription]:
        """A page within the block. What is kept of the past waits for it already.

        Args:
            wanted: which rows.
            after: the last row that the page has shown; rows up to it are left out. If it is not
                kept any more, all that are kept come, of which the page has some already.

        Raises:
            TooManyPagesError: see there.
        """
        if len(self._pages) >= MAX_PAGES:
            raise TooManyPagesError
        page = Subscription(wanted)
        kept = list(self._recent)
        places = [row.place for row in kept]
        page.offer(kept[places.index(after) + 1 :] if after in places else kept)
        if after is None:
            page.dropped = 0  # nobody was there to miss them
        self._pages.add(page)
        try:
            yield page
        finally:
            self._pages.discard(page)

    @property
    def pages(self) -> int:
        """How many pages are open."""
        return len(self._pages)

    def seen(self, key: str) -> list[str]:
        """The distinct values of a key of the rows that are kept, in order, without empty ones."""
        return sorted({value for row in self._recent if (value := getattr(row, key))})
