"""A dead letter with what became of it, and which ones somebody means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.dead_letter import DeadLetter, LetterMark
from workers.kafka.protocols import Record


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter.

    Attributes:
        message: as it is in the topic.
        view: what its headers say.
        mark: what became of it; None: nothing yet.
    """

    message: Record
    view: DeadLetter
    mark: LetterMark | None

    @property
    def place(self) -> tuple[int, int]:
        """Partition and offset in the topic of dead letters."""
        return self.message.partition, self.message.offset

    @property
    def names(self) -> set[str]:
        """What a person may call it: the record's id, or where it came from."""
        return {self.view.id, self.view.source}


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """Which dead letters are meant: those that all of this holds for; nothing given means all.

    Attributes:
        names: record ids or ``topic-partition-offset`` of where they came from.
        places: partitions and offsets in the topic of dead letters.
        failure: their failure class.
        code: their error code.
        text: in their id, their reason or where they came from, whatever its case.
        until: by partition of the topic of dead letters, the first offset that is not meant: those
            that come after somebody has looked are not. A partition that is not named has none.
    """

    names: frozenset[str] | None = None
    places: frozenset[tuple[int, int]] | None = None
    failure: str = ""
    code: str = ""
    text: str = ""
    until: Mapping[int, int] | None = None

    @property
    def is_of_single_ones(self) -> bool:
        """Whether letters are named one by one."""
        return self.names is not None or self.places is not None

    def holds(self, letter: Letter) -> bool:
        """Whether a letter is meant."""
        view, (partition, offset) = letter.view, letter.place
        return (
            (self.names is None or bool(self.names & letter.names))
            and (self.places is None or letter.place in self.places)
            and self.failure in ("", view.failure)
            and self.code in ("", view.code)
            and (self.until is None or offset < self.until.get(partition, 0))
            and _holds_text(self.text, view)
        )


def _holds_text(text: str, view: DeadLetter) -> bool:
    wanted = text.casefold()
    return any(wanted in each.casefold() for each in (view.id, view.message, view.source))
