"""Words that models write by different conventions, as the same units of a vote.

One model writes "It's 8:30, follow-up in 25 weeks." and another "it's eight thirty follow up in
twenty five weeks". What one model writes as one word is compared with runs of words of all: they
are one unit, with the same key, if they are made of the same pieces once spelled numbers are
digits. Nothing is made alike that no model has written as one word with digits or with a mark
inside, so models of the same convention vote word by word, as ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import get_args

import regex

from schemas.inverse_normalization import UNITS, Language, number_runs, unit_symbol
from schemas.unicode_text import simplified
from serve_app.routing.combining.hypotheses import Candidate

_LANGUAGES: tuple[Language, ...] = get_args(Language)
_SYMBOLS = frozenset(map(simplified, UNITS.values()))
#: A comma between thousands, which is not spoken.
_THOUSANDS = regex.compile(r"(?<=\d),(?=\d{3}(?!\d))")
#: An amount of money is one piece: its sign is spoken behind the number.
_PIECE = regex.compile(r"\p{Sc}?\d+(?:[.,]\d+)*\p{Sc}?|%|[\p{L}\p{M}]+(?:'[\p{L}\p{M}]+)*")
_DIGIT = regex.compile(r"\d")


@dataclass(frozen=True)
class Unit:
    """What is voted on: a word, or a run of words that another model writes as one.

    Attributes:
        key: by which units are compared.
        words: places of its words in the hypothesis.
    """

    key: str
    words: range


@dataclass(frozen=True)
class _Segment:
    """A word, or the words of a spelled number.

    Attributes:
        words: their places.
        pieces: what it is made of: words, numbers in digits, symbols of units.
        written: whether others may write it as more words, or as other ones.
    """

    words: range
    pieces: tuple[str, ...]
    written: bool


@dataclass(frozen=True)
class _Form:
    """Pieces without the spaces, and the places where a number follows another in them."""

    letters: str
    borders: frozenset[int]

    @property
    def key(self) -> str:
        ends = [0, *sorted(self.borders), len(self.letters)]
        return ":".join(self.letters[start:end] for start, end in pairwise(ends))


def units(candidates: Sequence[Candidate], lang: str | None = None) -> list[list[Unit]]:
    """The units of each candidate, in order.

    Args:
        candidates: hypotheses of the same speech.
        lang: BCP 47 tag of its language, for number words; English without one. Those of a language
            that text2num does not know stay words.
    """
    if not any(" " in key or _DIGIT.search(key) for each in candidates for key in each.keys):
        return [[Unit(key, _one(place)) for place, key in enumerate(c.keys)] for c in candidates]
    language = next((each for each in _LANGUAGES if each == (lang or "en")[:2].lower()), None)
    segments = [list(_segments(each, language)) for each in candidates]
    known: dict[str, set[_Form]] = {}
    for segment in (segment for each in segments for segment in each if segment.written):
        form = _form(segment.pieces)
        known.setdefault(form.letters, set()).add(form)
    return [
        list(_grouped(each.keys, of_one, known))
        for each, of_one in zip(candidates, segments, strict=True)
    ]


def _one(place: int) -> range:
    return range(place, place + 1)


def _segments(one: Candidate, language: Language | None) -> Iterator[_Segment]:
    written = [simplified(word.word) for word in one.words]
    bare = [regex.sub(r"^\W+|\W+$", "", word) for word in written]
    spelled = {
        start: (end, digits)
        for start, end, digits in (number_runs(bare, language) if language is not None else ())
        if not any(map(_DIGIT.search, bare[start:end]))
    }
    place, last = 0, ""
    while place < len(bare):
        if place in spelled:
            end, digits = spelled[place]
            marked = any(" " in key for key in one.keys[place:end])  # "twenty-five"
            segment = _Segment(range(place, end), (digits,), written=marked)
        else:
            segment = _segment(place, written[place], one.keys[place], last)
        yield segment
        place, last = segment.words.stop, segment.pieces[-1]


def _segment(place: int, written: str, key: str, last: str) -> _Segment:
    """The segment of one word; `last` is the piece in front of it."""
    pieces = tuple(key.split())
    if _DIGIT.search(key):
        found = _PIECE.findall(_THOUSANDS.sub("", written))
        return _Segment(_one(place), tuple(found) or pieces, written=True)
    if _DIGIT.search(last):
        symbol = unit_symbol(key)
        if symbol is not None:
            return _Segment(_one(place), (simplified(symbol),), written=False)
        if key in _SYMBOLS:
            return _Segment(_one(place), pieces, written=True)
    return _Segment(_one(place), pieces, written=len(pieces) > 1)


def _form(pieces: Sequence[str]) -> _Form:
    borders, length = set(), 0
    for before, after in pairwise(pieces):
        length += len(before)
        if before[-1].isdigit() and after[0].isdigit():
            borders.add(length)
    return _Form("".join(pieces), frozenset(borders))


def _grouped(
    keys: Sequence[str], segments: Sequence[_Segment], known: Mapping[str, set[_Form]]
) -> Iterator[Unit]:
    longest = max(map(len, known), default=0)
    first = 0
    while first < len(segments):
        pieces: list[str] = []
        found: Unit | None = None
        end = first
        for number, segment in enumerate(segments[first:], first + 1):
            pieces += segment.pieces
            form = _form(pieces)
            if len(form.letters) > longest:
                break
            fitting = [e for e in known.get(form.letters, ()) if e.borders <= form.borders]
            if fitting:
                key = max(fitting, key=lambda each: len(each.borders)).key
                found = Unit(key, range(segments[first].words.start, segment.words.stop))
                end = number
        if found is not None:
            yield found
            first = end
        else:
            yield from (Unit(keys[place], _one(place)) for place in segments[first].words)
            first += 1
