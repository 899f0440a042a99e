"""Votes on pairs of models or plans whose names the voter did not see."""

from __future__ import annotations

from collections import Counter
from typing import Literal, NamedTuple, get_args

#: Which of the two was better, or neither.
Choice = Literal["first", "second", "neither"]
CHOICES: tuple[Choice, ...] = get_args(Choice)


class Tally(NamedTuple):
    """The votes on one pair.

    Attributes:
        first, second: names of the models or plans, in alphabetical order.
        for_first, for_second, for_neither: votes.
    """

    first: str
    second: str
    for_first: int
    for_second: int
    for_neither: int


class Ballot:
    """The votes since this process began. Belongs to one event loop."""

    def __init__(self) -> None:
        self._votes: dict[tuple[str, str], Counter[str]] = {}

    def count(self, first: str, second: str, choice: Choice) -> None:
        """Count a vote.

        Args:
            first: name of what was shown first.
            second: name of what was shown second.
            choice: of the voter.
        """
        winner = {"first": first, "second": second, "neither": ""}[choice]
        low, high = sorted((first, second))
        self._votes.setdefault((low, high), Counter())[winner] += 1

    @property
    def tallies(self) -> list[Tally]:
        """The votes on each pair."""
        return [
            Tally(first, second, votes[first], votes[second], votes[""])
            for (first, second), votes in sorted(self._votes.items())
        ]
