"""`make rollout-power`, shorter, with errors as of two models that differ much."""

from __future__ import annotations

import numpy as np

from tests.scenarios.rollout_power import mixtures, power
from workers.evaluation.rollout.replay import Block

_RNG = np.random.default_rng(7)
BLOCKS = [Block(int(_RNG.binomial(10, 0.2)), int(_RNG.binomial(10, 0.4)), 10) for _ in range(200)]


def wer(blocks: list[Block], who: str) -> float:
    errors: int = sum(getattr(block, who) for block in blocks)
    return errors / sum(block.words for block in blocks)


def test_candidates_differ_from_the_incumbent_as_wanted() -> None:
    drawn = mixtures(BLOCKS, 1.2, np.random.default_rng(0), 20_000)
    assert 1.15 < wer(drawn, "candidate") / wer(drawn, "incumbent") < 1.25


def test_rollouts_come_to_the_right_verdict() -> None:
    figures, faults = power(BLOCKS, runs=8, rows=50, looks=1000)
    assert faults == []
    assert min(figures["worse_rolled_back"], figures["better_promoted"]) >= 7
