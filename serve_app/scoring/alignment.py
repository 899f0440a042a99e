"""What was said and what was heard, aligned word by word."""

from __future__ import annotations

from dataclasses import dataclass

import jiwer

from serve_app.scoring.wer import NORMALISER, compared_words


@dataclass(frozen=True)
class Piece:
    """Consecutive words of an alignment; `kind` is equal, substitute, delete or insert."""

    kind: str
    spoken: str
    heard: str


def align(reference: str, hypothesis: str, normaliser: str = NORMALISER) -> list[Piece]:
    """An alignment of both texts, normalised, by word, with the fewest edits."""
    as_it_is = jiwer.Compose([jiwer.ReduceToListOfListOfWords()])
    spoken, heard = (compared_words(each, normaliser) for each in (reference, hypothesis))
    found = jiwer.process_words(
        " ".join(spoken),
        " ".join(heard),
        reference_transform=as_it_is,
        hypothesis_transform=as_it_is,
    )
    pieces = []
    for chunk in found.alignments[0]:
        one = spoken[chunk.ref_start_idx : chunk.ref_end_idx]
        other = heard[chunk.hyp_start_idx : chunk.hyp_end_idx]
        if chunk.type == "substitute":
            pieces += [Piece(chunk.type, a, b) for a, b in zip(one, other, strict=True)]
        else:
            pieces.append(Piece(chunk.type, " ".join(one), " ".join(other)))
    return pieces
