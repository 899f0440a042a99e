"""Words that models write by different conventions, made comparable for a vote.

One model writes "It's 8:30, follow-up in 25 weeks." and another "it's eight thirty follow up in
twenty five weeks". A word with digits or with a mark inside has the keys of the words that another
model has for it, if these are made of the same pieces once their spelled numbers are digits. So
votes are counted word by word, as the model with the most words has them. What no model has written
as such a word keeps its own key, so models of the same convention vote as ever.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
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
_AROUND = regex.compile(r"^\W+|\W+$")

Keys = tuple[str, ...]


@dataclass(frozen=True)
class Spoken:
    """A hypothesis as its words are compared.

    Attributes:
        keys: what was said, word by word.
        places: of each key, the place of the word that it is of: several have the same if others
            have several words for one.
    """

    keys: tuple[str, ...]
    places: tuple[int, ...]

    def keys_of(self, at: int) -> range:
        """The keys of the same word as the key `at`."""
        place = self.places[at]
        if self.places[max(at - 1, 0) : at + 2].count(place) == 1:  # as almost all
            return range(at, at + 1)
        return range(bisect_left(self.places, place), bisect_right(self.places, place))


@dataclass(frozen=True)
class _Segment:
    """A word, or the words of a spelled number.

    Attributes:
        words: their places.
        pieces: what it is made of: words, numbers in digits, symbols of units.
        written: whether it is one word for which others may have several, or another.
    """

    words: range
    pieces: tuple[str, ...]
    written: bool


@dataclass(frozen=True)
class _Form:
    """Pieces without the spaces, and the places where a number follows another in them."""

    letters: str
    borders: frozenset[int]


#: By the letters of forms: the runs of plain words that have the form, and how often.
_Known = Mapping[str, Mapping[_Form, Counter[Keys]]]


def spoken(candidates: Sequence[Candidate], lang: str | None = None) -> list[Spoken]:
    """How the words of each candidate are compared.

    Args:
        candidates: hypotheses of the same speech.
        lang: BCP 47 tag of its language, for number words; English without one. Those of a language
            that text2num does not know are only compared as words.
    """
    keys = "\n".join(key for each in candidates for key in each.keys)
    if " " not in keys and not _DIGIT.search(keys):
        return [Spoken(each.keys, tuple(range(len(each.keys)))) for each in candidates]
    language = next((each for each in _LANGUAGES if each == (lang or "en")[:2].lower()), None)
    segments = [list(_segments(each, language)) for each in candidates]
    known: dict[str, dict[_Form, Counter[Keys]]] = {}
    for segment in (segment for each in segments for segment in each if segment.written):
        form = _form(segment.pieces)
        known.setdefault(form.letters, {})[form] = Counter()
    starts = {letters[:end] for letters in known for end in range(1, len(letters) + 1)}
    for one, of_one in zip(candidates, segments, strict=True):
        _count_runs(one.keys, of_one, known, starts)
    return [_compared(*each, known) for each in zip(candidates, segments, strict=True)]


def _one(place: int) -> range:
    return range(place, place + 1)


def _segments(one: Candidate, language: Language | None) -> Iterator[_Segment]:
    plain = [simplified(word.word) for word in one.words]
    bare = [_AROUND.sub("", word) for word in plain]
    spelled = {
        start: (end, digits)
        for start, end, digits in (number_runs(bare, language) if language is not None else ())
        if not any(map(_DIGIT.search, bare[start:end]))
    }
    place, last = 0, ""
    while place < len(bare):
        if place in spelled:
            end, digits = spelled[place]
            segment = _Segment(range(place, end), (digits,), written=False)
        else:
            segment = _segment(place, plain[place], one.keys[place], last)
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


def _count_runs(keys: Keys, segments: Sequence[_Segment], known: _Known, starts: Set[str]) -> None:
    """Count the runs of plain words that are made of the same pieces as a written word.

    Args:
        keys: of a candidate.
        segments: of the same.
        known: the written words, by their letters.
        starts: with what those letters begin.
    """
    for first in range(len(segments)):
        pieces: list[str] = []
        letters = ""
        for segment in segments[first:]:
            pieces += segment.pieces
            letters += "".join(segment.pieces)
            if segment.written or letters not in starts:
                break
            run = _plain(keys[segments[first].words.start : segment.words.stop])
            for form, runs in known.get(letters, {}).items():
                if form.borders <= _form(pieces).borders:
                    runs[run] += 1


def _compared(one: Candidate, segments: Sequence[_Segment], known: _Known) -> Spoken:
    keys: list[str] = []
    places: list[int] = []
    for segment in segments:
        for place in segment.words:
            run = _said(segment, one.keys[place], known)
            keys += run
            places += [place] * len(run)
    return Spoken(tuple(keys), tuple(places))


def _said(segment: _Segment, key: str, known: _Known) -> Keys:
    """The keys of one word of a segment."""
    if not segment.written:
        return _plain([key])
    form = _form(segment.pieces)
    runs = known[form.letters][form]
    # "u s" rather than "us" for "U.S."; of numbers, as most models have it
    return max(
        runs, key=lambda each: (len(each) == len(segment.pieces), runs[each]), default=(key,)
    )


def _plain(keys: Sequence[str]) -> Keys:
    """Keys of number words, of which some may be joined: "twenty-five"."""
    return tuple(part for key in keys for part in key.split())
