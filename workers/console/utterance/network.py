"""The word network of an ensemble as the page shows it: who has which word where.

The text that was chosen is the base of the alignment, so that each of its words has a column, and
what the members have beside it gets one of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.transcript import Word
from serve_app.engines.base import Hypothesis
from serve_app.routing.combining.conventions import Spoken, spoken
from serve_app.routing.combining.hypotheses import Candidate, candidate
from serve_app.routing.combining.network import build_network
from serve_app.routing.combining.spelling import timed_part

#: Words of the longest text that is aligned: the time for it grows with their square.
MAX_WORDS = 400


@dataclass(frozen=True)
class Member:
    """What one model heard.

    Attributes:
        model: its name.
        text: its text.
        words: with confidences, where they are known.
    """

    model: str
    text: str
    words: Sequence[Word] | None = None


@dataclass(frozen=True)
class Cell:
    """What one member has in a column.

    Attributes:
        word: as it spells it; empty for nothing.
        confidence: 0 to 1; None where it is not known.
        agrees: whether it is what was chosen.
    """

    word: str
    confidence: float | None
    agrees: bool


@dataclass(frozen=True)
class Column:
    """One place of the network.

    Attributes:
        chosen: the word that was chosen; empty where it was that nothing is said.
        confidence: of the chosen word; None where it is not known.
        votes: members that have what was chosen.
        start, end: of the chosen word in seconds; None where they are not known.
        cells: one for each member.
    """

    chosen: str
    confidence: float | None
    votes: int
    start: float | None
    end: float | None
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Network:
    """The columns, and the names of the members in the order of their cells."""

    models: tuple[str, ...]
    columns: tuple[Column, ...]


def network_of(
    chosen: str, words: Sequence[Word] | None, members: Sequence[Member], lang: str | None = None
) -> Network | None:
    """Align what members heard with the text that was chosen; None if that is too long.

    Args:
        chosen: the text, as it was combined: before text rules.
        words: of it, with times and confidences; None where they are not known.
        members: at least one.
        lang: BCP 47 tag of the language, see `conventions.spoken`.
    """
    texts = [Member("", chosen, words), *members]
    if any(len(each.text.split()) > MAX_WORDS for each in texts):
        return None
    candidates = [_candidate(each) for each in texts]
    heard = spoken(candidates, lang)
    columns = []
    for slot in build_network([each.keys for each in heard]):
        base, *arcs = slot.arcs
        key = "" if base is None else heard[0].keys[base]
        cells = tuple(
            _cell(one, of_one, arc, key, known=member.words is not None)
            for one, of_one, arc, member in zip(
                candidates[1:], heard[1:], arcs, members, strict=True
            )
        )
        word = None if base is None else timed_part(candidates[0], heard[0], base)
        timed = word is not None and word.end > 0
        columns.append(
            Column(
                chosen="" if word is None else word.word,
                confidence=None if word is None or words is None else word.confidence,
                votes=sum(each.agrees for each in cells),
                start=word.start if word is not None and timed else None,
                end=word.end if word is not None and timed else None,
                cells=cells,
            )
        )
    return Network(tuple(each.model for each in members), tuple(columns))


def _candidate(member: Member) -> Candidate:
    words = None if member.words is None else list(member.words)
    return candidate(member.model, Hypothesis(text=member.text, words=words))


def _cell(one: Candidate, heard: Spoken, arc: int | None, chosen: str, *, known: bool) -> Cell:
    if arc is None:
        return Cell("", None, agrees=not chosen)
    sure = one.confidences[heard.places[arc]] if known else None
    return Cell(timed_part(one, heard, arc).word, sure, agrees=heard.keys[arc] == chosen)
