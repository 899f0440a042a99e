"""Word and character error rate; the only definition in the project.

Both texts are normalised (`normalise`) and aligned with the least number of edits; of the
alignments with equally few, one with the fewest substitutions is taken, as in NIST's sclite
("a b" heard as "b c" is a deletion and an insertion, not two substitutions). Rates are in percent
and pooled: errors and reference words are added up over the utterances first and divided once, so
a long utterance counts for more than a short one and the rate of a corpus does not depend on how it
was split.

Scripts that put no spaces between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) are counted
by the character: there, the word error rate is the character error rate, and of a text that mixes
them with others it is what is known as the mixed error rate.

Characters are counted with the spaces between words, as jiwer and NeMo do.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from typing import Literal

import msgspec
import regex
from rapidfuzz.distance import Levenshtein

from schemas.unicode_text import simplified

#: A normaliser by name: `normalise`, or Whisper's for English, which also makes numbers, spellings,
#: contractions and titles alike, and leaves out what hesitates.
Normaliser = Literal["nfkc-lower-words-v3", "whisper-english"]
#: The default. The name is reported with every figure that depends on it.
NORMALISER: Normaliser = "nfkc-lower-words-v3"
WHISPER_ENGLISH: Normaliser = "whisper-english"


#: A character of a script without spaces between words, or a run of others; the mark that makes a
#: Japanese vowel long belongs to no script.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\u30fc\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_PARTS = regex.compile(rf"[{_UNSPACED}]\p{{M}}*|[^{_UNSPACED}]+")
#: Languages with an "i" without a dot, which is no "i".
_DOTLESS_I = ("tr", "az")
_TURKIC = str.maketrans({"I": "ı", "İ": "i"})


class ErrorCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Edits between a reference and a hypothesis, in words or in characters.

    To pool them, add them up: ``sum(counts, start=ErrorCounts())``.

    Attributes:
        substitutions: number of substitutions.
        deletions: number of deletions.
        insertions: number of insertions.
        reference: number of words (or characters) in the reference.
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
        """Substitutions, deletions and insertions together."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def percent(self) -> float | None:
        """The error rate, ``100 * errors / reference``; None if the reference is empty."""
        if not self.reference:
            return None
        return 100.0 * self.errors / self.reference


def count_errors(
    reference: str,
    hypothesis: str,
    normaliser: Normaliser = NORMALISER,
    *,
    lang: str | None = None,
) -> ErrorCounts:
    """Count word errors between the normalised texts.

    With an empty reference every word is an insertion, and `percent` is None.

    Args:
        reference: the correct text.
        hypothesis: the recognised text.
        normaliser: of both texts.
        lang: BCP 47 tag of their language, see `normalise`.
    """
    return count_edits(
        compared_words(reference, normaliser, lang), compared_words(hypothesis, normaliser, lang)
    )


def count_character_errors(
    reference: str,
    hypothesis: str,
    normaliser: Normaliser = NORMALISER,
    *,
    lang: str | None = None,
) -> ErrorCounts:
    """Count character errors between the normalised texts; spaces between words count.

    Args:
        reference: the correct text.
        hypothesis: the recognised text.
        normaliser: of both texts.
        lang: BCP 47 tag of their language, see `normalise`.
    """
    return count_edits(
        " ".join(_words(reference, normaliser, lang)),
        " ".join(_words(hypothesis, normaliser, lang)),
    )


def count_edits(spoken: Sequence[str], heard: Sequence[str]) -> ErrorCounts:
    """Count the edits that turn one sequence into another, without normalisation.

    Args:
        spoken: the reference.
        heard: the hypothesis.
    """
    # an edit costs `scale`, a substitution one more: the fewest edits, then fewest substitutions
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


def compared_words(text: str, normaliser: str = NORMALISER, lang: str | None = None) -> list[str]:
    """The words that are compared: characters, in scripts without spaces between words.

    Args:
        text: as it was written or recognised.
        normaliser: a `Normaliser`; the name that an earlier version reported stands for the
            default.
        lang: BCP 47 tag of its language, see `normalise`.
    """
    words = _words(text, normaliser, lang)
    if text.isascii():
        return words
    return [part for word in words for part in _PARTS.findall(word)]


def _words(text: str, normaliser: str, lang: str | None) -> list[str]:
    if normaliser == WHISPER_ENGLISH:
        return _whisper_english()(text)
    return normalise(text, lang)


@cache
def _whisper_english() -> Callable[[str], list[str]]:
    from whisper_normalizer.english import EnglishTextNormalizer

    simplify = EnglishTextNormalizer()
    return lambda text: simplify(text).split()


def normalise(text: str, lang: str | None = None) -> list[str]:
    """Split a text into words and normalise them for comparison.

    Args:
        text: as it was written or recognised.
        lang: BCP 47 tag of its language; it decides what "I" is in lower case.

    1. Unicode NFKC: full-width letters, ligatures and the like become their plain forms.
    2. Lower case; in Turkish and Azerbaijani, "I" is "ı" and "İ" is "i".
    3. Punctuation and symbols become spaces, so "and/or", "follow-up" and "3.5" are two words
       each. An apostrophe inside a word stays ("don't"); what is written for one, such as a
       typographic quote or an accent by itself, becomes a plain one.
    4. Invisible format characters (soft hyphens, joiners, byte-order marks) are dropped, and so are
       marks that stand on no letter, such as the selector behind an emoji.

    Numbers are not spelled out, and spelling variants are not unified: the reference must use the
    same conventions as the models.
    """
    if lang is not None and lang[:2].lower() in _DOTLESS_I and lang[2:3] in ("", "-", "_"):
        text = text.translate(_TURKIC)
    return _bare(simplified(text).translate(_characters))


def normalise_each(words: Sequence[str]) -> list[str]:
    """What `normalise` makes of each of `words`, joined by spaces; in one pass over all of them.

    Args:
        words: as they were written or recognised.
    """
    text = "\n".join(words)
    if text.count("\n") >= len(words):  # one of them has a line of its own
        return [" ".join(normalise(word)) for word in words]
    lines = simplified(text).translate(_characters).split("\n")
    return [" ".join(_bare(line)) for line in lines]


def _bare(text: str) -> list[str]:
    """The words of a text without apostrophes around them."""
    return [bare for word in text.split() if (bare := word.strip("'"))]


class _Characters(dict[int, str | None]):
    """The normalised form of each character, computed at its first use."""

    def __missing__(self, code: int) -> str | None:
        char = chr(code)
        category = unicodedata.category(char)
        kept: str | None
        if char == "'":
            kept = char
        elif category == "Cf":
            kept = None
        else:
            kept = " " if category[0] in "PS" else char
        self[code] = kept
        return kept


_characters = _Characters()
