"""A fair queue: interactive work goes ahead of bulk work, within its share. No threads, no clock.

While both classes wait, the rule is start-time fair queueing (P. Goyal, H. M. Vin and H. Cheng,
"Start-time Fair Queuing: A Scheduling Algorithm for Integrated Services Packet Switching Networks",
SIGCOMM 1996), which does not need to know the cost of a batch before it has run. Each class has a
virtual time: the seconds that it was served, divided by its share. The class that is behind goes
next, and one that was idle is advanced to the other, so that no credit accumulates. With two
classes only the difference matters; here it is kept as the seconds that bulk work is owed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Plan = Callable[[list[Item]], Sequence[list[Item]]]


class FairQueue(Generic[Item]):
    """Items of two classes, handed out in batches of one class each.

    Each class is planned in rounds: all of its waiting items are grouped into batches, and later
    items wait until these are used up. Between any two batches the classes compete.

    While bulk items wait, interactive batches take at most `interactive_share` of that time, plus
    ``(1 - interactive_share) * C + interactive_share * L`` seconds, where C is the longest
    interactive batch and L the longest bulk batch. While interactive items wait, bulk batches take
    at most the rest of that time, plus the same number of seconds.

    Not thread-safe.

    Args:
        plan: groups items into batches, in the order to run them; every item once, none empty.
        interactive_share: share of the time for interactive items while bulk items wait; above 0.
            At 1, bulk items run only while no interactive items wait.

    Raises:
        ValueError: `interactive_share` is not above 0 and at most 1.
    """

    def __init__(self, plan: Plan[Item], *, interactive_share: float) -> None:
        self._plan = plan
        self._queues: dict[bool, _ClassQueue[Item]] = {True: _ClassQueue(), False: _ClassQueue()}
        self._debt = _Debt(interactive_share)
        self._interactive = self._contended = False  # the batch taken last

    def put(self, items: Sequence[Item], *, interactive: bool) -> None:
        """Append `items` to the queue of one class."""
        self._queues[interactive].put(items)

    def waiting(self, *, interactive: bool) -> int:
        """Number of items of this class that have not been taken."""
        return self._queues[interactive].size

    def __len__(self) -> int:
        return sum(queue.size for queue in self._queues.values())

    def take(self) -> list[Item]:
        """Take the next batch; empty if nothing waits. Call `charge` before the next `take`."""
        interactive, bulk = (self._queues[each].size > 0 for each in (True, False))
        if not interactive and not bulk:
            self._debt.forget()
            return []
        self._contended = interactive and bulk
        self._interactive = interactive and not (self._contended and self._debt.due)
        return self._queues[self._interactive].take(self._plan)

    def charge(self, seconds: float) -> None:
        """Account for the time of the batch that was taken last."""
        self._debt.charge(seconds, interactive=self._interactive, contended=self._contended)

    def drain(self) -> list[Item]:
        """Take all waiting items, in no particular order."""
        return [item for queue in self._queues.values() for item in queue.drain()]


class _ClassQueue(Generic[Item]):
    """The items of one class: a round of batches, and the items that arrived after planning."""

    def __init__(self) -> None:
        self.size = 0
        self._round: deque[list[Item]] = deque()
        self._later: list[Item] = []

    def put(self, items: Sequence[Item]) -> None:
        self._later += items
        self.size += len(items)

    def take(self, plan: Plan[Item]) -> list[Item]:
        if not self._round:
            self._round.extend(plan(self._later))
            self._later = []
        batch = self._round.popleft()
        self.size -= len(batch)
        return batch

    def drain(self) -> list[Item]:
        items = [item for batch in self._round for item in batch] + self._later
        self._round.clear()
        self._later = []
        self.size = 0
        return items


class _Debt:
    """The seconds that bulk work is owed; negative if interactive work is owed some.

    A batch is contended if the other class was waiting when it started. An uncontended batch makes
    no debt, with one exception: interactive work is owed its share of an uncontended bulk batch,
    because it may have arrived during the batch. Bulk work has no such claim on an interactive
    batch, else any bulk item that arrives during one would go ahead of waiting interactive items.
    """

    def __init__(self, interactive_share: float) -> None:
        if not 0 < interactive_share <= 1:
            raise ValueError(
                f"the interactive share is {interactive_share}; it must be above 0 and at most 1"
            )
        self._share = interactive_share
        self._owed = 0.0

    @property
    def due(self) -> bool:
        """Whether a bulk batch goes next."""
        return self._owed > 0

    def charge(self, seconds: float, *, interactive: bool, contended: bool) -> None:
        if interactive:
            self._owed += (1 - self._share) * seconds
            if not contended:
                self._owed = min(self._owed, 0.0)
        else:
            if not contended:
                self._owed = max(self._owed, 0.0)
            self._owed -= self._share * seconds

    def forget(self) -> None:
        self._owed = 0.0
