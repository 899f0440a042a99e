r"""Unicode in texts, in one place: the same text written in two ways, and where a word ends.

Boundaries are those of the module `regex` (https://github.com/mrabarnett/mrab-regex), whose ``\w``
has combining marks, as Unicode's annex 29 wants. Python's own `re` ends a word before a mark: in
Hindi or Tamil that is in the middle of it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import regex

#: What is written for an apostrophe: typographic quotes, accents, primes, modifier letters.
APOSTROPHES = "'`\u00b4\u02b9\u02bb\u02bc\u02bd\u2018\u2019\u201b\u2032\u2035\uff07"
_PLAIN_APOSTROPHE = str.maketrans(dict.fromkeys(APOSTROPHES, "'"))
#: Marks that do not belong to a word: variation selectors, as behind an emoji; enclosing marks, as
#: around a key; and any mark without a letter or digit to stand on.
_STRAY_MARKS = regex.compile(
    r"[\p{Me}\u180b-\u180d\ufe00-\ufe0f\U000e0100-\U000e01ef]|(?<![\p{L}\p{N}\p{M}])\p{M}+"
)
#: "İ" in lower case is an i with a dot above it, which nobody writes.
_DOTTED_I = "i\u0307"


def composed(text: str) -> str:
    """`text` in the composed form (NFC): letters with their accents as one character."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def simplified(text: str) -> str:
    """`text` in lower case and in the plainest form (NFKC), with plain apostrophes.

    Full-width letters, ligatures and the like become plain, and marks that belong to no letter are
    dropped.
    """
    text = text.translate(_PLAIN_APOSTROPHE)
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKC", text).lower()
    text = unicodedata.normalize("NFKC", _STRAY_MARKS.sub("", text))
    return text.replace(_DOTTED_I, "i")


def whole_words(phrases: Sequence[str]) -> regex.Pattern[str]:
    """A pattern that finds one of `phrases`, upper and lower case alike, as whole words only.

    White space in a phrase matches any. An apostrophe belongs to a word only between two letters.
    The text must be `composed`.

    Args:
        phrases: where two are found at the same place, the longest is taken.
    """
    longest_first = sorted(map(composed, phrases), key=len, reverse=True)
    words = "|".join(r"\s+".join(map(regex.escape, each.split())) for each in longest_first)
    apostrophe = f"[{APOSTROPHES}]"
    return regex.compile(
        rf"(?<!\w)(?<!\w{apostrophe})(?:{words})(?!\w)(?!{apostrophe}\w)", regex.IGNORECASE
    )
