"""What a reader of these very figures must know."""

from __future__ import annotations

from collections.abc import Sequence

from workers.evaluation.comparison_results import Comparison, SetInfo

#: With fewer speakers, or utterances, than this the intervals themselves are rough.
FEW_BLOCKS = 30


def caveats_of(comparison: Comparison) -> list[str]:
    """Sentences; empty where there is nothing to mind."""
    sets = comparison.sets
    few = [each for each in sets if each.blocks < FEW_BLOCKS]
    alone = [each for each in sets if each.drawn == "utterances"]
    found = []
    if few:
        told = ", ".join(f"{each.name} ({each.blocks} {each.drawn})" for each in few)
        found.append(
            f"Few {_units(few)} are behind the figures of {told}: the intervals are rough, and"
            " differences that matter can go unseen."
        )
    if alone:
        told = ", ".join(each.name for each in alone)
        found.append(
            f"For {told} utterances were drawn, as too few speakers are named. Where speakers"
            " return, the real uncertainty is larger."
        )
    if any(each.left_out for each in sets):
        told = ", ".join(f"{each.name} ({each.left_out})" for each in sets if each.left_out)
        found.append(f"Lines of the manifests were at fault and are left out: {told}.")
    if any(each.score.failed for each in comparison.results):
        found.append("Where a system gave no answer, all words of the reference count as deleted.")
    return found


def _units(sets: Sequence[SetInfo]) -> str:
    return " or ".join(dict.fromkeys(each.drawn for each in sets))
