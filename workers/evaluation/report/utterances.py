"""The worst utterances, what was said and what was heard aligned word by word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serve_app.scoring.alignment import Piece, align
from serve_app.scoring.wer import NORMALISER
from workers.evaluation.comparison.results import SetResult, Worst
from workers.evaluation.report.keys import Key, Keys


@dataclass(frozen=True)
class WorstUtterance:
    """An utterance with errors, and its alignment."""

    facts: Worst
    pieces: list[Piece]


def worst_utterances(
    keys: Keys, results: Sequence[SetResult], normaliser: str = NORMALISER
) -> list[tuple[Key, list[WorstUtterance]]]:
    """The utterances with the most errors, by system; systems without errors are left out."""
    return [
        (
            keys[result.system],
            [
                WorstUtterance(each, align(each.reference, each.hypothesis, normaliser))
                for each in result.worst
            ],
        )
        for result in results
        if result.worst
    ]
