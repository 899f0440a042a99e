"""The section `rollout`: when a candidate is promoted, and when it is rolled back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from schemas.settings.types import (
    Fault,
    PositiveFloat,
    PositiveInt,
    Probability,
    Strict,
)
from schemas.settings.values import read_by
from schemas.shares import share_of

BlockBy = Literal["speaker", "recording", "record"]
#: A part of all blocks of speech, from 0 to 1.
Share = Annotated[float, read_by(share_of, ge=0, le=1)]
#: By how much more something may be, as a part of it.
Increase = Annotated[float, read_by(share_of, ge=0)]


class RolloutSettings(Strict):
    """How a candidate is compared with the version that serves, the incumbent.

    A verdict on word errors needs references. Without them a candidate can be shown to fail or to
    be slow, and not to be better.

    Attributes:
        shadow: share of the speech that both transcribe; the incumbent's transcripts are
            published.
        canary: share of the speech that the candidate transcribes, and whose transcripts are
            published; where it fails, the incumbent does.
        promote: "by_hand" waits for `chorus rollout promote` once a candidate is shown to be
            better, "automatic" moves the alias.
        max_worse: a candidate is rolled back when its WER is certainly above that of the incumbent
            times 1 plus this; 0.05 is five percent of it, not five points.
        promote_when: "better" promotes a candidate whose WER is certainly below the incumbent's,
            "not_worse" one whose WER is certainly not above it by `max_worse`.
        max_failing: a candidate is rolled back when its share of clips without an answer is
            certainly above the incumbent's by more than this.
        max_slow: the same for answers over HTTP that take longer than `slow_s`; bulk work, which
            waits for as long as there is much of it, is not counted.
        slow_s: seconds in a model, waiting in its queue included, after which an answer was slow.
        errors_in_a_row: a candidate is rolled back at once when it fails so many times in a row;
            the calls that fail within ten seconds of one another, as when it dies, are one time.
        timeout_s: longest wait for a candidate, in seconds; the incumbent takes the clip then.
        error_rate: probability of a wrong verdict on candidates that are as good as the incumbent,
            over all looks together.
        sharpest_at: blocks at which the comparison is most precise. A block is what errors are
            counted over: a speaker, a recording, or a record.
        min_blocks: blocks before the first verdict.
        max_blocks: blocks after which a comparison without a verdict ends as inconclusive.
        block_by: what a block is, and what stays with the same version in a canary: "speaker" is
            the record's key `speaker`, where it has one.
    """

    shadow: Share = 0.2
    canary: Share = 0.0
    promote: Literal["by_hand", "automatic"] = "by_hand"
    max_worse: Increase = 0.05
    promote_when: Literal["better", "not_worse"] = "better"
    max_failing: Probability = 0.01
    max_slow: Probability = 0.05
    slow_s: PositiveFloat = 10.0
    errors_in_a_row: PositiveInt = 5
    timeout_s: PositiveFloat = 30.0
    error_rate: Annotated[float, read_by(share_of, gt=0, lt=0.5)] = 0.05
    sharpest_at: PositiveInt = 500
    min_blocks: Annotated[int, msgspec.Meta(ge=30)] = 100
    max_blocks: PositiveInt = 5000
    block_by: BlockBy = "recording"


def rollout_faults(rollout: RolloutSettings) -> Iterator[Fault]:
    """What is wrong with the section that types alone cannot express."""
    if rollout.shadow + rollout.canary > 1:
        yield (
            "rollout.canary",
            f"{rollout.canary:g} is more than `shadow` ({rollout.shadow:g}) leaves of the speech",
        )
    if rollout.max_blocks < rollout.min_blocks:
        yield ("rollout.max_blocks", f"is below `min_blocks` ({rollout.min_blocks})")
