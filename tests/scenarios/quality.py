"""Does `chorus quality` find a model that is made worse, and leave one alone that is not?

A model of the demo transcribes shipped speech as it is, and once more after noise has been added to
its weights, which makes half as many errors again. Streams of records are drawn from what it really
wrote and how sure it was. Healthy ones are of the model as it is; others change to the worse one
after 2,000 records, once with references, where only the WER counts, and once without. All are
seeded. The last line is JSON: of 20 runs, how many healthy ones raised an alarm, and the number of
records after the change until it was found, the largest of all runs (null if one was not); the exit
code is 1 if there was an alarm or these are above 500 and 2,000.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from statistics import median
from typing import Any

import msgspec
import numpy as np
import torch
from rich.console import Console

from deploy.demo import MODELS, SPEECH
from schemas.settings import ModelSettings
from schemas.transcript import Timings, Transcript
from serve_app.audio.clip import SAMPLE_RATE
from serve_app.audio.measures import measure
from serve_app.engines.base import Engine
from serve_app.scoring.wer import count_errors
from tests.scenarios.outcome import exit_code_of
from workers.evaluation.systems.base import ModelSystem, SystemInfo
from workers.evaluation.systems.recognition import Heard, Task, recognise
from workers.evaluation.testset import TestSet, read_test_set
from workers.manifests.speech import Utterance, read_audio
from workers.quality.observations import Observation, Observer
from workers.quality.series import in_series
from workers.quality.verdict import DRIFT, Finding, Rules, judge

#: The model and the sets that it transcribes.
_MODEL, _SETS = "general", ("general", "calls")
#: Standard deviation of the noise, relative to that of each weight matrix.
_NOISE = 0.2
_RUNS, _HEALTHY, _LENGTH = 20, 2000, 5000


class Worsened(ModelSystem):
    """A model with noise on its weights, the same on every machine."""

    @property
    def identity(self) -> object:
        return {"model": super().identity, "noise": _NOISE}

    def load(self) -> tuple[Engine, SystemInfo]:
        engine, info = super().load()
        generator = torch.Generator().manual_seed(0)
        weights: Any = engine
        with torch.no_grad():
            for each in weights._head._model.parameters():
                if each.dim() > 1:
                    noise = torch.randn(each.shape, generator=generator)
                    each.add_(_NOISE * each.std() * noise)
        return engine, info


def observed(test_set: TestSet, heard: Sequence[Heard]) -> list[Observation]:
    """What each transcript says; without duplicates, since clips are drawn many times below."""
    found = []
    for utterance, each in zip(test_set.utterances, heard, strict=True):
        seen = Observer().observe(_transcript(utterance, each))
        seen.values.pop("duplicate")
        found.append(seen)
    return found


def _transcript(utterance: Utterance, heard: Heard) -> Transcript:
    text = heard.pred_text or ""
    errors = count_errors(utterance.text, text)
    measures = measure(read_audio(utterance), SAMPLE_RATE)
    return Transcript(
        id=utterance.id,
        audio_filepath=utterance.path,
        duration=utterance.duration,
        pred_text=text,
        selected_model=_MODEL,
        model_path="",
        rule="default",
        audio_measures={name.removeprefix("audio."): each for name, each in measures.items()},
        confidence=heard.confidence,
        word_errors=errors.errors,
        reference_words=errors.reference,
        timings=Timings(),
    )


def shipped(console: Console) -> tuple[list[Observation], list[Observation]]:
    """Observations of the model as it is and of the worse one, of the same clips."""
    sets = [read_test_set(SPEECH / f"{name}.jsonl") for name in _SETS]
    tasks = [Task(each.name, each) for each in sets]
    settings = ModelSettings(path=str(MODELS / f"{_MODEL}.nemo"))
    both = []
    for system in (ModelSystem(_MODEL, settings), Worsened("worsened", settings)):
        heard = recognise(system, tasks).heard
        found = [seen for each in sets for seen in observed(each, heard[each.name])]
        errors, words = np.sum([seen.values["wer"] for seen in found], axis=0)
        sure = np.mean([seen.values["confidence"][0] for seen in found])
        console.print(
            f"{system.name}: WER {100 * errors / words:.1f}%, confidence {sure:.3f}, "
            f"{len(found)} clips"
        )
        both.append(found)
    return both[0], both[1]


def stream(
    healthy: Sequence[Observation],
    worse: Sequence[Observation],
    seed: int,
    *,
    references: bool,
) -> list[Observation]:
    """Clips in random order: `_HEALTHY` records of one model, then as many as fill it of the other.

    Args:
        healthy: observations of clips.
        worse: of the same clips.
        seed: of the order.
        references: whether the records have references.
    """
    drawn = np.random.default_rng(seed).integers(len(healthy), size=_LENGTH)
    found = [(healthy if at < _HEALTHY else worse)[clip] for at, clip in enumerate(drawn)]
    if references:
        return found
    return [
        msgspec.structs.replace(
            each, values={name: value for name, value in each.values.items() if name != "wer"}
        )
        for each in found
    ]


def found_after(records: Sequence[Observation], *, references: bool) -> float:
    """Records after the change until it is certain; with references, that of the WER alone."""
    return min(
        (
            moved.at + (moved.certain_after or 0) - _HEALTHY
            for comparison in _finding(records).comparisons
            for moved in comparison.measures
            if moved.at is not None and moved.status in DRIFT
            if not references or moved.measure == "wer"
        ),
        default=float("inf"),
    )


def power(
    healthy: Sequence[Observation], worse: Sequence[Observation], runs: int
) -> tuple[dict[str, Any], list[str]]:
    """The figures, and what is wrong."""
    quiet = [stream(healthy, healthy, seed, references=True) for seed in range(runs)]
    alarms = sum(_finding(each).status in DRIFT for each in quiet)
    after = {
        name: [
            found_after(stream(healthy, worse, seed, references=known), references=known)
            for seed in range(runs)
        ]
        for name, known in (("with_references", True), ("without_references", False))
    }
    figures = {
        "false_alarms": alarms,
        "healthy_runs": runs,
        **{f"found_{name}_after": _finite(max(each)) for name, each in after.items()},
        "median": {name: _finite(median(each)) for name, each in after.items()},
    }
    faults = [f"{alarms} of {runs} healthy runs raised an alarm"] if alarms else []
    for name, most in (("with_references", 500), ("without_references", 2000)):
        if max(after[name]) > most:
            faults.append(f"{name}: found after {max(after[name])} records, not {most}")
    return figures, faults


def _finite(records: float) -> float | None:
    return records if records < float("inf") else None


def _finding(records: Sequence[Observation]) -> Finding:
    (finding,) = judge(in_series(records), Rules())
    return finding


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=_RUNS)
    given = parser.parse_args()
    console = Console(stderr=True, highlight=False)
    return exit_code_of(
        lambda: power(*shipped(console), given.runs), (ValueError, OSError), console
    )


if __name__ == "__main__":
    sys.exit(main())
