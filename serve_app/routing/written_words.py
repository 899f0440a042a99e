"""The times of words after text rules have changed how they are written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from schemas.transcript import Word


def written_words(words: Sequence[Word], text: str) -> list[Word]:
    """The words of `text` with times.

    Words that are written as they were heard keep their times. What stands in the place of others
    ("5 mg" for "five milligrams") shares their time by length, and has the lowest of their
    confidences. A word that stands in the place of none takes no time.

    Args:
        words: as they were heard.
        text: as it is written.
    """
    written = text.split()
    heard = [each.word for each in words]
    found: list[Word] = []
    for kind, first, end, start, stop in SequenceMatcher(
        None, heard, written, autojunk=False
    ).get_opcodes():
        if kind == "equal":
            found += words[first:end]
        elif first == end:
            now = words[first - 1].end if first else words[0].start if words else 0.0
            found += [Word(each, now, now) for each in written[start:stop]]
        else:
            found += _shared(words[first:end], written[start:stop])
    return found


def _shared(heard: Sequence[Word], written: Sequence[str]) -> Iterator[Word]:
    begin, seconds = heard[0].start, heard[-1].end - heard[0].start
    sure = [each.confidence for each in heard if each.confidence is not None]
    confidence = min(sure) if len(sure) == len(heard) else None
    total, before = sum(map(len, written)), 0
    for each in written:
        start = begin + seconds * before / total
        before += len(each)
        end = begin + seconds * before / total
        yield Word(each, round(start, 3), round(end, 3), confidence)
