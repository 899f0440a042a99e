"""Do rollouts come to the right verdict? By replay of the shipped speech, seeded.

Two models of the demo transcribe all the shipped speech. Incumbents and candidates are mixtures of
what the two wrote, utterance by utterance, so that one has a WER a fifth above the other's, a fifth
below it, or the same, with errors that real models made. Each rollout draws records from the speech
until it has a verdict. The last line is JSON: of 20 rollouts each, how many ended rightly; the exit
code is 1 if fewer than 19 did.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console

from deploy.demo import MODELS, SPEECH
from schemas.settings import RolloutSettings
from serve_app.rollout.sequence import ConfidenceSequence
from serve_app.rollout.verdict import Verdict
from tests.scenarios.outcome import exit_code_of
from workers.evaluation.rollout.replay import Block, Replay, paired_blocks, replay
from workers.evaluation.systems.naming import as_systems
from workers.evaluation.testset import read_test_set

#: The better and the worse one, on all sets together.
PAIR = ("noisy", "general")
#: Worse and better candidates differ from the incumbent by this, relative to its WER.
_DIFFERENCE = 0.2
_RUNS, _RIGHT = 20, 19
#: Coverage of the confidence sequence: rows of observations, and looks at each.
_ROWS, _LOOKS = 2_000, 5_000


def mixtures(
    blocks: Sequence[Block], share: float, rng: np.random.Generator, count: int
) -> list[Block]:
    """Records drawn from `blocks`, as an incumbent and a candidate that differ would write them.

    Each takes the worse model's text of a record with some probability, independently: the
    incumbent so often that its WER is in the middle, the candidate so that its WER is `share` times
    that.
    """
    good = sum(block.incumbent for block in blocks)
    bad = sum(block.candidate for block in blocks)
    middle = 0.5
    rate = good + middle * (bad - good)
    other = (share * rate - good) / (bad - good)
    if not 0 <= other <= 1:
        raise ValueError(f"the models' WERs are too close to each other to make {share} of them")
    drawn = rng.integers(len(blocks), size=count)
    first, second = rng.random(count) < middle, rng.random(count) < other
    return [
        Block(
            blocks[i].candidate if a else blocks[i].incumbent,
            blocks[i].candidate if b else blocks[i].incumbent,
            blocks[i].words,
        )
        for i, a, b in zip(drawn, first, second, strict=True)
    ]


def rollouts(blocks: Sequence[Block], share: float, runs: int) -> list[Replay]:
    """The rollouts of a candidate with `share` of the incumbent's WER, each with a seed."""
    rules = RolloutSettings()
    return [
        replay(mixtures(blocks, share, np.random.default_rng(seed), rules.max_blocks), rules)
        for seed in range(runs)
    ]


def coverage(rows: int, looks: int) -> float:
    """Share of simulated rows whose mean is inside the sequence at every look, in percent."""
    rng, rules = np.random.default_rng(0), RolloutSettings()
    inside = 0
    for _ in range(rows):
        values = rng.poisson(0.5, looks) - rng.poisson(0.5, looks)  # errors of two equal models
        total, squares = np.cumsum(values), np.cumsum(values * values)
        inside += all(
            low <= 0 <= high
            for n in range(rules.min_blocks, looks + 1, 5)
            for low, high in [
                ConfidenceSequence(
                    n=n, total=float(total[n - 1]), squares=float(squares[n - 1])
                ).bounds(rules.error_rate, rules.sharpest_at)
            ]
        )
    return 100 * inside / rows


def shipped_blocks(console: Console) -> list[Block]:
    """The errors of the two models on each shipped record."""
    sets = [read_test_set(path) for path in sorted(SPEECH.glob("*.jsonl"))]
    systems = as_systems([MODELS / f"{name}.nemo" for name in PAIR])
    blocks = paired_blocks(systems, sets, block_by="record")
    words = sum(block.words for block in blocks)
    rates = [
        100 * sum(getattr(block, who) for block in blocks) / words
        for who in ("incumbent", "candidate")
    ]
    listed = ", ".join(f"{name} {rate:.1f}%" for name, rate in zip(PAIR, rates, strict=True))
    console.print(f"WER on {len(blocks)} records: {listed}")
    return blocks


def power(
    blocks: Sequence[Block], *, runs: int, rows: int, looks: int
) -> tuple[dict[str, Any], list[str]]:
    """The figures, and what is wrong."""
    worse = rollouts(blocks, 1 + _DIFFERENCE, runs)
    better = rollouts(blocks, 1 - _DIFFERENCE, runs)
    equal = rollouts(blocks, 1.0, runs)
    counts = {
        "worse_rolled_back": sum(each.verdict is Verdict.ROLL_BACK for each in worse),
        "better_promoted": sum(each.verdict is Verdict.PROMOTE for each in better),
    }
    wrong = sum(each.verdict is not Verdict.INCONCLUSIVE for each in equal)
    covered = round(coverage(rows, looks), 2)
    figures = {
        "runs": runs,
        **counts,
        "equal_wrong": wrong,
        "median_records": {
            "worse": median(each.blocks for each in worse),
            "better": median(each.blocks for each in better),
        },
        "coverage_percent": covered,
    }
    right = runs * _RIGHT // _RUNS
    faults = [f"{key}: {count} of {runs}" for key, count in counts.items() if count < right]
    if wrong > runs - right:
        faults.append(f"equal_wrong: {wrong} of {runs}")
    if covered < 95:
        faults.append(f"coverage: {covered}%")
    return figures, faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=_RUNS)
    given = parser.parse_args()
    console = Console(stderr=True, highlight=False)
    return exit_code_of(
        lambda: power(shipped_blocks(console), runs=given.runs, rows=_ROWS, looks=_LOOKS),
        (ValueError, OSError),
        console,
    )


if __name__ == "__main__":
    sys.exit(main())
