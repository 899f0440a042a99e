"""Score recognised utterances: results on one test set, and on all sets together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from serve_app.scoring.wer import NORMALISER, Normaliser
from workers.evaluation.comparison.results import (
    OverallResult,
    SetInfo,
    SetResult,
    SliceScore,
    UtteranceRow,
    Worst,
)
from workers.evaluation.statistics.intervals import Bootstrap, Difference
from workers.evaluation.statistics.scores import UtteranceScore, pool, score_utterance
from workers.evaluation.statistics.slices import Slice
from workers.evaluation.systems.recognition import Heard, speed
from workers.evaluation.testset import TestSet

#: How many of the utterances with the most errors a comparison keeps for each system and set.
WORST = 10

#: The score of each utterance of a set; None where it has no reference.
SetScores = Sequence[UtteranceScore | None]


def score(
    test_set: TestSet, heard: Sequence[Heard], normaliser: Normaliser = NORMALISER
) -> list[UtteranceScore | None]:
    """Score each utterance; None where it has no reference."""
    return [
        score_utterance(each.text, row.pred_text, normaliser, lang=each.lang)
        if each.has_text
        else None
        for each, row in zip(test_set.utterances, heard, strict=True)
    ]


def set_info(test_set: TestSet, bootstrap: Bootstrap) -> SetInfo:
    """Describe a test set; `bootstrap` resamples its utterances."""
    return SetInfo(
        name=test_set.name,
        sha256=test_set.sha256,
        utterances=len(test_set.utterances),
        seconds=round(test_set.seconds, 2),
        left_out=test_set.left_out,
        drawn=bootstrap.unit,
        blocks=bootstrap.blocks,
    )


def set_result(
    system: str,
    test_set: TestSet,
    heard: Sequence[Heard],
    scores: SetScores,
    slices: Sequence[Slice],
    bootstrap: Bootstrap,
) -> SetResult:
    """Sum up one system on one test set; `bootstrap` resamples the set's utterances."""
    fast = speed(heard)
    return SetResult(
        system=system,
        test_set=test_set.name,
        score=pool(scores),
        interval=bootstrap.interval(scores),
        rtfx=round(fast[0], 2) if fast else None,
        samples_per_second=round(fast[1], 2) if fast else None,
        slices=[
            SliceScore(
                field=each.field,
                value=each.value,
                score=pool(scores[index] for index in each.indices),
            )
            for each in slices
        ],
        worst=_worst(test_set, heard, scores),
    )


def overall_results(
    sets: Sequence[TestSet],
    heard: Mapping[str, Sequence[Sequence[Heard]]],
    scores: Mapping[str, Sequence[SetScores]],
) -> tuple[list[OverallResult], list[Difference]]:
    """Sum up each system, and compare every pair, on all sets as if they were one.

    Args:
        sets: the test sets.
        heard: recognised utterances by system, then in the order of `sets`.
        scores: their scores, in the same order.
    """
    bootstrap = Bootstrap(
        [speaker for each in sets for speaker in each.speakers],
        [scored for each in sets for scored in each.scored],
    )
    pooled = {name: [one for some in of_sets for one in some] for name, of_sets in scores.items()}
    results = []
    for name, of_all in pooled.items():
        fast = speed([row for rows in heard[name] for row in rows])
        results.append(
            OverallResult(
                system=name,
                score=pool(of_all),
                interval=bootstrap.interval(of_all),
                rtfx=round(fast[0], 2) if fast else None,
                drawn=bootstrap.unit,
                blocks=bootstrap.blocks,
            )
        )
    return results, bootstrap.differences(pooled)


def utterance_rows(
    system: str, test_set: TestSet, heard: Sequence[Heard], scores: SetScores
) -> list[UtteranceRow]:
    """One row for each utterance of the set, in the set's order."""
    return [
        UtteranceRow(
            system=system,
            test_set=test_set.name,
            id=each.id,
            duration=round(each.duration, 3),
            speaker=each.speaker,
            snr_db=each.measures.get("audio.snr_db"),
            bandwidth_hz=each.measures.get("audio.bandwidth_hz"),
            text=each.text if each.has_text else None,
            pred_text=row.pred_text,
            confidence=row.confidence,
            wer=found.wer if found else None,
            errors=found.words.errors if found else None,
            reference_words=found.words.reference if found else None,
        )
        for each, row, found in zip(test_set.utterances, heard, scores, strict=True)
    ]


def _worst(test_set: TestSet, heard: Sequence[Heard], scores: SetScores) -> list[Worst]:
    rows = zip(test_set.utterances, heard, scores, strict=True)
    wrong = [
        Worst(
            id=each.id,
            duration=round(each.duration, 3),
            reference=each.text,
            hypothesis=row.pred_text or "",
            errors=found.words.errors,
            wer=found.wer,
            failed=found.failed,
        )
        for each, row, found in rows
        if found is not None and found.words.errors
    ]
    return sorted(wrong, key=lambda each: (-each.errors, each.id))[:WORST]
