"""Warnings about the figures of a report: what they do and do not show."""

from __future__ import annotations

from collections.abc import Sequence

from workers.evaluation.comparison.results import Comparison, SetInfo

#: With fewer speakers, or utterances, than this the intervals themselves are rough.
FEW_BLOCKS = 30


def caveats_of(comparison: Comparison) -> list[str]:
    """The sentences to print; an empty list where no warning applies."""
    sets = comparison.sets
    few = [each for each in sets if each.blocks < FEW_BLOCKS]
    alone = [each for each in sets if each.drawn == "utterances"]
    found = []
    if few:
        told = ", ".join(f"{each.name} ({each.blocks} {each.drawn})" for each in few)
        found.append(
            f"Few {_units(few)} are behind the figures of {told}: the intervals are rough, and"
            " differences that matter may not show."
        )
    if alone:
        told = ", ".join(each.name for each in alone)
        found.append(
            f"The intervals of {told} come from resampled utterances, since too few speakers are"
            " named. If speakers occur several times, the real uncertainty is larger."
        )
    if any(each.left_out for each in sets):
        told = ", ".join(f"{each.name} ({each.left_out})" for each in sets if each.left_out)
        found.append(f"Invalid lines of the manifests were left out: {told}.")
    if any(each.score.failed for each in comparison.results):
        found.append("Where a system gave no answer, all words of the reference count as deleted.")
    return found


def _units(sets: Sequence[SetInfo]) -> str:
    return " or ".join(dict.fromkeys(each.drawn for each in sets))
