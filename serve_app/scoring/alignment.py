"""What was said and what was heard, aligned word by word."""

from __future__ import annotations

from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from serve_app.scoring.wer import NORMALISER, compared_words


@dataclass(frozen=True)
class Piece:
    """Consecutive words of an alignment; `kind` is equal, substitute, delete or insert."""

    kind: str
    spoken: str
    heard: str


def align(reference: str, hypothesis: str, normaliser: str = NORMALISER) -> list[Piece]:
    """An alignment of both texts, normalised, by word, with the fewest edits."""
    spoken, heard = (compared_words(each, normaliser) for each in (reference, hypothesis))
    pieces = []
    for each in Levenshtein.opcodes(spoken, heard):
        one = spoken[each.src_start : each.src_end]
        other = heard[each.dest_start : each.dest_end]
        if each.tag == "replace":
            pieces += [Piece("substitute", a, b) for a, b in zip(one, other, strict=True)]
        else:
            pieces.append(Piece(each.tag, " ".join(one), " ".join(other)))
    return pieces
