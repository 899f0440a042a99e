"""How long to train, and the learning rate on the way."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: The learning rate at the end of a training.
FINAL_RATE = 1e-5


@dataclass(frozen=True)
class Budget:
    """The end of a training: after so many steps or so many minutes; exactly one is given."""

    steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError("give either steps or minutes")
        if (self.steps or self.minutes or 0) <= 0:
            raise ValueError("a budget is more than nothing")

    def progress(self, steps: int, seconds: float) -> float:
        """The part of the budget that is used up, 0 to 1."""
        part = steps / self.steps if self.steps else seconds / 60 / (self.minutes or 1.0)
        return min(1.0, part)


def learning_rate(peak: float, progress: float, warm_up: float) -> float:
    """The learning rate at `progress`: up to `peak` in a line, then down along a cosine.

    The schedule of SGDR (Loshchilov and Hutter, 2017) without restarts, after a linear warm-up.

    Args:
        peak: the highest learning rate.
        progress: part of the budget that is used up, 0 to 1.
        warm_up: part of the budget that the rise takes, 0 to less than 1.
    """
    if progress < warm_up:
        return peak * progress / warm_up
    fallen = (progress - warm_up) / (1 - warm_up)
    return FINAL_RATE + (peak - FINAL_RATE) * (1 + math.cos(math.pi * fallen)) / 2
