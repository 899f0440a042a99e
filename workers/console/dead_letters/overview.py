"""The letters of a topic, counted and grouped in one reading, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, get_args

from workers.kafka.letter_choice import Choice, Letter

#: What became of the letters that are shown; "all" with those that were replayed and dropped.
State = Literal["open", "replayed", "dropped", "all"]
STATES: tuple[State, ...] = get_args(State)
#: Letters that are shown of all that match: the latest.
MOST_SHOWN = 200


@dataclass
class Group:
    """Letters of one class and code, by what became of them.

    Attributes:
        failure: their failure class.
        code: their error code.
        open, replayed, dropped: how many.
        last: when the latest was given up, Unix time in seconds.
    """

    failure: str
    code: str
    open: int = 0
    replayed: int = 0
    dropped: int = 0
    last: float = 0.0

    def add(self, letter: Letter) -> None:
        """Count a letter."""
        name = "open" if letter.mark is None else letter.mark.mark
        setattr(self, name, getattr(self, name) + 1)
        self.last = max(self.last, letter.view.timestamp)


@dataclass
class Overview:
    """What is in the topic, and which of it is asked for.

    Attributes:
        groups: of all letters, those with the most open ones first.
        letters: that match, the latest first; at most `MOST_SHOWN`.
        matching: how many match.
        possible: of those, what can be replayed: not settled yet, and they hold their record.
        settled: of those, how many were replayed or dropped before.
        without_value: of the others, how many do not hold their record.
        topics: how many of the possible ones go to each topic.
        until: the first offset of each partition that was not read; see `Choice.until`.
        newer: messages of the topic that only a newer version of Chorus can read.
    """

    groups: list[Group] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    matching: int = 0
    possible: int = 0
    settled: int = 0
    without_value: int = 0
    topics: dict[str, int] = field(default_factory=dict)
    until: dict[int, int] = field(default_factory=dict)
    newer: int = 0


def overview_of(letters: Iterable[Letter], choice: Choice, state: State = "all") -> Overview:
    """Count letters, and keep the latest of those that match.

    Args:
        letters: of the topic, from the oldest on within each partition.
        choice: which ones match.
        state: what must have become of them.
    """
    found, groups = Overview(), dict[tuple[str, str], Group]()
    latest: deque[Letter] = deque(maxlen=MOST_SHOWN)
    for letter in letters:
        key = letter.view.failure, letter.view.code
        groups.setdefault(key, Group(*key)).add(letter)
        partition, offset = letter.place
        found.until[partition] = offset + 1
        if choice.holds(letter) and _is(letter, state):
            latest.append(letter)
            _count(found, letter)
    found.groups = sorted(groups.values(), key=lambda each: (-each.open, each.failure, each.code))
    found.letters = sorted(latest, key=lambda each: -each.view.timestamp)
    return found


def _is(letter: Letter, state: State) -> bool:
    return state in ("all", "open" if letter.mark is None else letter.mark.mark)


def _count(found: Overview, letter: Letter) -> None:
    found.matching += 1
    if letter.mark is not None:
        found.settled += 1
    elif letter.view.value_omitted is not None:
        found.without_value += 1
    else:
        found.possible += 1
        found.topics[letter.view.topic] = found.topics.get(letter.view.topic, 0) + 1
