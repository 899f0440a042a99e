"""Word and character error rate: the one convention of the project.

Both texts are normalised (`normalise`) and aligned with the least number of edits; of the
alignments with equally few, one with the fewest substitutions counts, as NIST's sclite has it
("a b" heard as "b c" is a deletion and an insertion, not two substitutions). Rates are in percent
and pooled: errors and reference words are added up over the utterances first and divided once, so
a long utterance weighs more than a short one and the rate of a corpus does not depend on how it was
cut. A mean of per-utterance rates is never the headline.

Characters are counted with the spaces between words, as jiwer and NeMo do.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import msgspec
from rapidfuzz.distance import Levenshtein

#: Name of the normaliser, to be quoted beside any figure it had a part in.
NORMALISER = "nfkc-lower-words"


class ErrorCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Edits between a reference and a hypothesis, in words or in characters.

    Add them up to pool: ``sum(counts, start=ErrorCounts())``.

    Attributes:
        reference: words (or characters) of the reference.
    """

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    reference: int = 0

    def __add__(self, other: ErrorCounts) -> ErrorCounts:
        return ErrorCounts(
            substitutions=self.substitutions + other.substitutions,
            deletions=self.deletions + other.deletions,
            insertions=self.insertions + other.insertions,
            reference=self.reference + other.reference,
        )

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def percent(self) -> float | None:
        """``100 * errors / reference``; None where the reference is empty."""
        if not self.reference:
            return None
        return 100.0 * self.errors / self.reference


def count_errors(reference: str, hypothesis: str) -> ErrorCounts:
    """The edits, in words, that turn the normalised `reference` into the normalised `hypothesis`.

    With an empty reference every word is an insertion, and `percent` is None.
    """
    return count_edits(normalise(reference), normalise(hypothesis))


def count_character_errors(reference: str, hypothesis: str) -> ErrorCounts:
    """As `count_errors`, in characters; one space between words is a character too."""
    return count_edits(" ".join(normalise(reference)), " ".join(normalise(hypothesis)))


def count_edits(spoken: Sequence[str], heard: Sequence[str]) -> ErrorCounts:
    """The edits that turn `spoken` into `heard`, as they are."""
    # an edit costs `scale`, a substitution one more: the cost counts edits first, then those
    scale = len(spoken) + len(heard) + 1
    cost = Levenshtein.distance(spoken, heard, weights=(scale, scale, scale + 1))
    edits, substitutions = divmod(cost, scale)
    deletions = (edits - substitutions + len(spoken) - len(heard)) // 2
    return ErrorCounts(
        substitutions=substitutions,
        deletions=deletions,
        insertions=edits - substitutions - deletions,
        reference=len(spoken),
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
