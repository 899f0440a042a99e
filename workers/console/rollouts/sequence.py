"""The confidence sequence of a rollout over its blocks, from the evidence that is stored."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.settings import RolloutSettings
from serve_app.rollout.evidence import Evidence, alpha_of
from serve_app.rollout.verdict import PairedErrors

#: Points that are kept of a long sequence.
_MOST = 240


@dataclass(frozen=True)
class Point:
    """What was known after some blocks, in points of WER: the candidate's minus the incumbent's.

    Attributes:
        blocks: with references, in the order in which they were first heard.
        mean: difference.
        low, high: interval for it that is right at every look.
        margin: difference above which a candidate is too bad, by `max_worse`.
    """

    blocks: int
    mean: float
    low: float
    high: float
    margin: float


def sequence_of(evidence: Evidence, rules: RolloutSettings) -> list[Point]:
    """At most `_MOST` points, the last of them of all blocks; none with fewer than two blocks.

    The sums of a block are those it has now, so this is what the order of the blocks would have
    shown, not what was seen at the time while a block was still growing.
    """
    scored = [block for block in evidence.blocks.values() if block.words]
    kept = {round(at * len(scored) / _MOST) for at in range(1, _MOST + 1)}
    errors, found = PairedErrors(), []
    for number, block in enumerate(scored, 1):
        errors.add(block.incumbent, block.candidate, block.words, rules)
        if number < 2 or number not in kept:
            continue
        low, high = errors.difference.bounds(alpha_of(rules), rules.sharpest_at)
        points = 100 * errors.blocks / errors.words
        found.append(
            Point(
                blocks=number,
                mean=errors.difference.mean * points,
                low=low * points,
                high=high * points,
                margin=100 * rules.max_worse * errors.incumbent / errors.words,
            )
        )
    return found
