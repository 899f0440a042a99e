"""The section `rollout`: when a candidate is promoted, and when it is rolled back."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from schemas.settings.types import NonNegativeFloat, PositiveInt, Strict


class RolloutSettings(Strict):
    """How a candidate is compared with the version that serves, the incumbent.

    Attributes:
        max_worse: a candidate is rolled back when its WER is certainly above that of the incumbent
            times 1 plus this; 0.05 is five percent of it, not five points.
        promote_when: "better" promotes a candidate whose WER is certainly below the incumbent's,
            "not_worse" one whose WER is certainly not above it by `max_worse`.
        error_rate: probability of a wrong verdict on candidates that are as good as the incumbent,
            over all looks together.
        sharpest_at: blocks at which the comparison is most precise. A block is what errors are
            counted over: a speaker, a recording, or a record.
        min_blocks: blocks before the first verdict.
        max_blocks: blocks after which a comparison without a verdict ends as inconclusive.
    """

    max_worse: NonNegativeFloat = 0.05
    promote_when: Literal["better", "not_worse"] = "better"
    error_rate: Annotated[float, msgspec.Meta(gt=0, lt=0.5)] = 0.05
    sharpest_at: PositiveInt = 500
    min_blocks: Annotated[int, msgspec.Meta(ge=30)] = 100
    max_blocks: PositiveInt = 5000
