"""Whose clips go next: interactive work ahead of the bulk, within its share. No threads, no clock.

The rule while both wait is start-time fair queueing (P. Goyal, H. M. Vin and H. Cheng, "Start-time
Fair Queuing: A Scheduling Algorithm for Integrated Services Packet Switching Networks", SIGCOMM
1996), which need not know what a batch costs before it has run. Each class has a virtual time: the
seconds that it was served, over its share. The class that is behind goes next, and one that was
idle is brought up to the other, so that nothing is saved up. Of two classes only the difference
counts; here it is held as the seconds that the bulk is owed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Plan = Callable[[list[Item]], Sequence[list[Item]]]


class FairQueue(Generic[Item]):
    """Items of two classes, handed out in batches of one class each.

    Each class is planned in rounds: all of it that waits is cut into batches, and what comes later
    waits until they are used up. Between any two batches the classes compete.

    However long the bulk waits, interactive batches take no more than `interactive_share` of that
    time and ``(1 - interactive_share) * C + interactive_share * L`` seconds, where C is the longest
    interactive batch and L the longest of the bulk. However long interactive items wait, the bulk
    takes no more than the rest of that time and as many seconds.

    Not thread-safe.

    Args:
        plan: cuts items into batches, in the order to run them; every item once, none empty.
        interactive_share: of the time, for interactive items while the bulk waits; above 0. At 1
            the bulk gets only what they leave.

    Raises:
        ValueError: `interactive_share` is not above 0 and at most 1.
    """

    def __init__(self, plan: Plan[Item], *, interactive_share: float) -> None:
        self._plan = plan
        self._lines: dict[bool, _Line[Item]] = {True: _Line(), False: _Line()}
        self._debt = _Debt(interactive_share)
        self._interactive = self._contended = False  # the batch taken last

    def put(self, items: Sequence[Item], *, interactive: bool) -> None:
        self._lines[interactive].put(items)

    def waiting(self, *, interactive: bool) -> int:
        """Items of this class that are not taken yet, planned or not."""
        return self._lines[interactive].size

    def __len__(self) -> int:
        return sum(line.size for line in self._lines.values())

    def take(self) -> list[Item]:
        """The next batch; empty when nothing waits. `charge` it before the next is taken."""
        interactive, bulk = (self._lines[each].size > 0 for each in (True, False))
        if not interactive and not bulk:
            self._debt.forget()
            return []
        self._contended = interactive and bulk
        self._interactive = interactive and not (self._contended and self._debt.due)
        return self._lines[self._interactive].take(self._plan)

    def charge(self, seconds: float) -> None:
        """Say how long the batch took that was taken last."""
        self._debt.charge(seconds, interactive=self._interactive, contended=self._contended)

    def drain(self) -> list[Item]:
        """Take all that waits, planned or not, in no order."""
        return [item for line in self._lines.values() for item in line.drain()]


class _Line(Generic[Item]):
    """The items of one class: a round of batches, and those that came after it was planned."""

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
    """The seconds that the bulk is owed; below zero where interactive work is owed some.

    A batch is contended if the other class waited when it began. One that is not makes no debt,
    but that interactive work is owed its share of the last bulk batch: it may have come during it.
    The bulk has no such claim on an interactive batch, or whatever bulk comes while one runs would
    go ahead of the interactive items that wait.
    """

    def __init__(self, interactive_share: float) -> None:
        if not 0 < interactive_share <= 1:
            raise ValueError(f"the interactive share is {interactive_share}, not in (0, 1]")
        self._share = interactive_share
        self._owed = 0.0

    @property
    def due(self) -> bool:
        """Whether the bulk goes next."""
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
