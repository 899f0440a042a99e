"""Word error rate: the one convention of the project.

Both texts are normalised (`normalise`), aligned word by word with the least number of edits
(jiwer), and counted. Rates are in percent and pooled: errors and reference words are added up over
the utterances first and divided once, so a long utterance weighs more than a short one and the
rate of a corpus does not depend on how it was cut. A mean of per-utterance rates is never the
headline.
"""

from __future__ import annotations

import unicodedata

import jiwer
import msgspec

#: Name of the normaliser, to be quoted beside any figure it had a part in.
NORMALISER = "nfkc-lower-words"


class WordErrors(msgspec.Struct, frozen=True, kw_only=True):
    """Edits between a reference and a hypothesis, in words. Add them up to pool: ``sum(errors,
    start=WordErrors())``."""

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    reference_words: int = 0

    def __add__(self, other: WordErrors) -> WordErrors:
        return WordErrors(
            substitutions=self.substitutions + other.substitutions,
            deletions=self.deletions + other.deletions,
            insertions=self.insertions + other.insertions,
            reference_words=self.reference_words + other.reference_words,
        )

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def percent(self) -> float | None:
        """``100 * errors / reference_words``; None without a single reference word."""
        if not self.reference_words:
            return None
        return 100.0 * self.errors / self.reference_words


def count_errors(reference: str, hypothesis: str) -> WordErrors:
    """The edits that turn the normalised `reference` into the normalised `hypothesis`.

    With an empty reference every word is an insertion, and `percent` is None.
    """
    spoken, heard = normalise(reference), normalise(hypothesis)
    if spoken == heard:
        return WordErrors(reference_words=len(spoken))
    if not spoken:
        return WordErrors(insertions=len(heard))
    result = jiwer.process_words(
        [spoken], [heard], reference_transform=_as_is, hypothesis_transform=_as_is
    )
    return WordErrors(
        substitutions=result.substitutions,
        deletions=result.deletions,
        insertions=result.insertions,
        reference_words=len(spoken),
    )


def normalise(text: str) -> list[str]:
    """The words of `text`, as they are compared.

    1. Unicode NFKC: full-width letters, ligatures and the like become their plain forms.
    2. Lower case.
    3. Punctuation and symbols become spaces, so "and/or", "follow-up" and "3.5" are two words
       each. An apostrophe inside a word stays ("don't"); a typographic one becomes a plain one.
    4. Invisible format characters (soft hyphens, joiners, byte-order marks) are dropped.

    Numbers are not spelled out, and spelling variants are not unified: that is the business of the
    reference.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    words = text.lower().translate(_characters).split()
    return [bare for word in words if (bare := word.strip("'"))]


class _Characters(dict[int, str | None]):
    """What becomes of a character; looked up once per character, then remembered."""

    def __missing__(self, code: int) -> str | None:
        char = chr(code)
        category = unicodedata.category(char)
        kept: str | None
        if char in "'\u2018\u2019\u02bc":
            kept = "'"
        elif category == "Cf":
            kept = None
        else:
            kept = " " if category[0] in "PS" else char
        self[code] = kept
        return kept


_characters = _Characters()


def _as_is(sentences: list[list[str]]) -> list[list[str]]:
    """jiwer's transformation where the words are split already."""
    return sentences
