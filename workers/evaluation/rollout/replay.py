"""Compare a candidate with an incumbent on test sets, block after block, up to a verdict."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import msgspec

from schemas.settings import BlockBy, RolloutSettings
from serve_app.rollout.verdict import PairedErrors, Verdict
from serve_app.scoring.wer import NORMALISER, Normaliser
from workers.evaluation.comparison.scoring import score
from workers.evaluation.systems.base import System
from workers.evaluation.systems.recognition import ProgressCallback, Task, recognise
from workers.evaluation.testset import TestSet
from workers.manifests.speech import Utterance


class Block(msgspec.Struct, frozen=True):
    """Speech that errors are counted over together, since they depend on one another.

    Attributes:
        incumbent: word errors of the incumbent.
        candidate: word errors of the candidate.
        words: words of the references.
    """

    incumbent: int
    candidate: int
    words: int


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """What a rollout would have come to.

    Attributes:
        verdict: the first one that was not "hold"; "hold" if the speech did not suffice for one.
        blocks: after how many blocks.
        of: how many blocks there are.
        words: words of the references of those blocks.
        incumbent_wer: WER on them in percent; None without words.
        candidate_wer: the same of the candidate.
    """

    verdict: Verdict
    blocks: int
    of: int
    words: int
    incumbent_wer: float | None
    candidate_wer: float | None


def replay(blocks: Sequence[Block], settings: RolloutSettings) -> Replay:
    """Add blocks in their order until there is a verdict."""
    errors, verdict = PairedErrors(), Verdict.HOLD
    for block in blocks:
        errors.add(block.incumbent, block.candidate, block.words, settings)
        verdict = errors.verdict(settings)
        if verdict is not Verdict.HOLD:
            break
    words = errors.words
    return Replay(
        verdict=verdict,
        blocks=errors.blocks,
        of=len(blocks),
        words=words,
        incumbent_wer=round(100 * errors.incumbent / words, 2) if words else None,
        candidate_wer=round(100 * errors.candidate / words, 2) if words else None,
    )


def paired_blocks(
    systems: Sequence[System],
    sets: Sequence[TestSet],
    *,
    block_by: BlockBy = "recording",
    seed: int = 0,
    folder: Path | None = None,
    normaliser: Normaliser = NORMALISER,
    report: ProgressCallback = lambda name, done, total: None,
) -> list[Block]:
    """Recognise test sets with both, and count the errors of each block. Blocks while they run.

    Args:
        systems: the incumbent, which serves, and the candidate.
        sets: the test sets; utterances without a reference are left out.
        block_by: what a block is. Utterances without a speaker are blocks of their own.
        seed: of the order of the blocks, which would come in no particular order either.
        folder: where finished recognition is kept, so that an interrupted call can resume.
        normaliser: makes texts comparable before errors are counted.
        report: called with the system's name, how many utterances are done, and how many there are.

    Raises:
        EngineError: a system cannot be loaded, or fails on all audio.
        OSError: a file cannot be read or written.
    """
    tasks = [Task(each.name, each) for each in sets]
    counted: dict[tuple[str, ...], list[int]] = {}
    for column, system in enumerate(systems):
        found = recognise(system, tasks, folder=folder, report=report)
        for each in sets:
            scores = score(each, found.heard[each.name], normaliser)
            for utterance, scored in zip(each.utterances, scores, strict=True):
                if scored is not None:
                    row = counted.setdefault(_key(each, utterance, block_by), [0, 0, 0])
                    row[column] += scored.words.errors
                    row[2] += scored.words.reference if column == 0 else 0
    blocks = [Block(*row) for row in counted.values()]
    random.Random(seed).shuffle(blocks)  # noqa: S311  # an order, not a secret
    return blocks


def _key(test_set: TestSet, utterance: Utterance, block_by: BlockBy) -> tuple[str, ...]:
    alone = (test_set.name, utterance.id, str(utterance.line))
    if block_by == "speaker":
        return ("speaker", utterance.speaker) if utterance.speaker else alone
    return ("recording", utterance.path) if block_by == "recording" else alone
