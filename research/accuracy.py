"""`python -m research.accuracy`: the accuracy of routing, tiers and ensembles of the demo's models.

Measured on the five test sets of the corpus, mixed, without hints. Each model transcribes all of
them once; the plans of `plans.yaml` then run on the recorded hypotheses with the Router's code.
Confidences are calibrated, and the thresholds of the tiers chosen, on the corpus' dev sets, which
share no sentence and no held-out voice with the test sets.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from deploy.demo import CALIBRATION, PLANS
from research import CACHE
from research.corpus import CORPUS
from research.wer_matrix import SETS
from schemas.manifest import ManifestRecord
from schemas.settings import Settings, load_settings
from serve_app.engines.base import Hypothesis
from serve_app.routing.calibration import calibrated, read_calibration
from serve_app.routing.combining.hypotheses import candidate
from serve_app.routing.plans import Decision, Planner
from serve_app.routing.rules import Selector
from serve_app.scoring.wer import ErrorCounts, count_errors
from workers.evaluation import read_test_set
from workers.evaluation.calibration.calibrate import (
    calibrate,
    correct_words,
    expected_calibration_error,
)
from workers.evaluation.results import write_json
from workers.evaluation.statistics.intervals import Bootstrap
from workers.evaluation.statistics.scores import UtteranceScore
from workers.evaluation.systems.naming import as_systems
from workers.evaluation.systems.recognition import Heard, Task, recognise
from workers.evaluation.systems.replay import replay
from workers.manifests.speech import Utterance

#: Thresholds of confidence for the curve of the tiers.
CURVE = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 1.01)
#: The sets that have a model with the same name.
DOMAINS = SETS[:5]
#: Wrong hints: the domain that a record claims, by its real domain.
WRONG = {"general": "medical", "medical": "legal", "legal": "medical"}


@dataclass(frozen=True)
class Clip:
    """One utterance and the hypotheses of all models.

    Attributes:
        domain: name of the set, and of the model that was trained for it.
        utterance: the utterance.
        heard: hypothesis by model.
        seconds: processing time by model.
    """

    domain: str
    utterance: Utterance
    heard: Mapping[str, Hypothesis]
    seconds: Mapping[str, float]

    def record(self, domain: str | None = None) -> ManifestRecord:
        """A record for the Router, without any hint but the given domain."""
        return ManifestRecord(id=self.utterance.id, audio_filepath="clip.wav", domain=domain)


@dataclass
class Outcome:
    """Result of one method on all clips.

    Attributes:
        name: name of the method.
        counts: errors of each clip.
        seconds: total processing time of the models.
    """

    name: str
    counts: list[ErrorCounts] = field(default_factory=list)
    seconds: float = 0.0


def main(
    corpus: Annotated[Path, typer.Option(help="Folder of the corpus.")] = CORPUS,
    work: Annotated[
        Path, typer.Option(help="Folder for intermediate results, to resume from.")
    ] = CACHE / "accuracy",
    recalibrate: Annotated[
        bool, typer.Option(help="Calibrate again, and overwrite the demo's calibration.")
    ] = False,
) -> None:
    """Print a table with 95% intervals; the last line is one JSON object."""
    make = [sys.executable, "-m", "research.corpus", "make", "--out", f"{corpus}"]
    splits = ["--splits", "dev,test"]
    if subprocess.run([*make, *splits]).returncode:
        sys.exit(1)  # the command has printed why
    settings = load_settings(PLANS)
    if recalibrate:
        dev = [str(corpus / "dev" / f"{name}.jsonl") for name in DOMAINS]
        found = calibrate(list(DOMAINS), dev, settings=settings.models, folder=work, say=typer.echo)
        write_json(found, CALIBRATION)
    clips = hear(settings, corpus / "test", work)
    outcomes = {each.name: each for each in try_all(settings, clips)}
    show(clips, list(outcomes.values()))
    show_curve(settings, clips)
    typer.echo(json.dumps(figures(clips, outcomes)))


def hear(settings: Settings, folder: Path, work: Path) -> list[Clip]:
    """Transcribe all test sets with all models."""
    sets = [read_test_set(folder / f"{name}.jsonl") for name in DOMAINS]
    tasks = [Task(each.name, each) for each in sets]
    rows: dict[str, dict[str, list[Heard]]] = {}
    for system in as_systems(list(DOMAINS), settings.models):
        typer.echo(f"transcribing with {system.name} ...", err=True)
        rows[system.name] = recognise(system, tasks, words=True, folder=work).heard
    clips = []
    for each in sets:
        for index, utterance in enumerate(each.utterances):
            found = {name: of_sets[each.name][index] for name, of_sets in rows.items()}
            heard = {
                name: hypothesis
                for name, row in found.items()
                if (hypothesis := row.hypothesis) is not None
            }
            seconds = {name: row.seconds for name, row in found.items()}
            clips.append(Clip(each.name, utterance, heard, seconds))
    return clips


#: A method: from a clip to a transcript and the models that were used.
Method = Callable[[Clip], tuple[str, Sequence[str]]]


def try_all(settings: Settings, clips: Sequence[Clip]) -> list[Outcome]:
    """Run every method on all clips."""
    calibration = read_calibration(CALIBRATION)
    planner = Planner(settings, calibration)
    selector = Selector(settings.routing)

    def model(name: Callable[[Clip], str]) -> Method:
        return lambda clip: (clip.heard[name(clip)].text, [name(clip)])

    def plan(name: str) -> Method:
        def method(clip: Clip) -> tuple[str, Sequence[str]]:
            found = replay(planner, name, clip.record(), clip.heard)
            return found.text, found.asked

        return method

    def routed(hint: Callable[[Clip], str | None] = lambda clip: None) -> Method:
        def method(clip: Clip) -> tuple[str, Sequence[str]]:
            record = clip.record(hint(clip))
            choice = selector.choose(record, clip.utterance.measures)
            found = replay(planner, choice.target, record, clip.heard)
            return found.text, found.asked

        return method

    def single(name: str) -> Method:
        return model(lambda clip: name)

    methods = {name: single(name) for name in DOMAINS}
    methods |= {
        "perfect knowledge of the domain": model(lambda clip: clip.domain),
        "one model, by measures alone": model(by_measures),
        "weighted": plan("weighted"),
        "confidence": plan("confidence"),
        "least risk": plan("least-risk"),
        "vote": plan("vote"),
        "measures and tiers": routed(),
        "tiers, wrong hint": routed(lambda clip: WRONG.get(clip.domain)),
        "tiers, right hint": routed(
            lambda clip: clip.domain if clip.domain in ("medical", "legal") else None
        ),
    }
    return [_run(name, method, clips) for name, method in methods.items()]


def by_measures(clip: Clip) -> str:
    """Choose the telephone or noise model by measures of the audio, else the general one."""
    measures = clip.utterance.measures
    if measures["audio.bandwidth_hz"] < 4000:
        return "telephony"
    return "noisy" if measures["audio.snr_db"] < 25 else "general"


def _run(name: str, method: Method, clips: Sequence[Clip]) -> Outcome:
    outcome = Outcome(name)
    for clip in clips:
        text, asked = method(clip)
        outcome.counts.append(count_errors(clip.utterance.text, text))
        outcome.seconds += sum(clip.seconds[model] for model in asked)
    return outcome


def show(clips: Sequence[Clip], outcomes: Sequence[Outcome]) -> None:
    """Print a table of the methods: WER with its interval and by set, and model time."""
    bootstrap = Bootstrap([clip.utterance.speaker for clip in clips], [True] * len(clips))
    table = Table(title=f"WER in percent, {len(clips)} utterances", title_justify="left")
    table.add_column("method")
    for name in ("all", "95%", *DOMAINS, "model time"):
        table.add_column(name, justify="right")
    for each in outcomes:
        interval = bootstrap.interval(_scores(each.counts))
        parts = [_wer(_of(each.counts, clips, name)) for name in DOMAINS]
        table.add_row(
            each.name,
            f"{_wer(each.counts):.1f}",
            f"{interval.low:.1f}-{interval.high:.1f}" if interval else "-",
            *(f"{rate:.1f}" for rate in parts),
            f"{_time(each, clips):.2f}",
        )
    Console(width=120).print(table)


def show_curve(settings: Settings, clips: Sequence[Clip]) -> None:
    """Print the WER of tiers by threshold, with the share of audio that the second tier gets."""
    planner = Planner(settings, read_calibration(CALIBRATION))
    seconds = sum(clip.utterance.duration for clip in clips)
    table = Table(title="general first, the vote below a confidence", title_justify="left")
    for name in ("confidence", "audio to the vote %", "WER %", "model time"):
        table.add_column(name, justify="right")
    for limit in CURVE:
        asked = 0.0

        def method(clip: Clip, limit: float = limit) -> tuple[str, Sequence[str]]:
            nonlocal asked
            first = replay(planner, "general", clip.record(), clip.heard)
            if isinstance(first.decision, Decision) and (first.decision.confidence or 0) >= limit:
                return first.text, first.asked
            asked += clip.utterance.duration
            found = replay(planner, "vote", clip.record(), clip.heard)
            return found.text, found.asked

        outcome = _run("", method, clips)
        row = (100 * asked / seconds, _wer(outcome.counts), _time(outcome, clips))
        table.add_row(f"{limit:g}", f"{row[0]:.0f}", f"{row[1]:.1f}", f"{row[2]:.2f}")
    Console(width=120).print(table)


def figures(clips: Sequence[Clip], outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """The main figures by name, for scripts."""
    rates = {name: round(_wer(each.counts), 2) for name, each in outcomes.items()}
    channels = {
        f"wer_{name}_{what}": round(_wer(_of(outcomes[method].counts, clips, name)), 2)
        for name in ("telephony", "noisy")
        for what, method in (
            ("measured", "one model, by measures alone"),
            ("oracle", "perfect knowledge of the domain"),
        )
    }
    tiers, always = outcomes["measures and tiers"], outcomes["vote"]
    return {
        "wer_general": rates["general"],
        "wer_oracle_domain": rates["perfect knowledge of the domain"],
        "wer_measured": rates["one model, by measures alone"],
        **channels,
        "wer_confidence": rates["confidence"],
        "wer_best_single": min(rates[name] for name in DOMAINS),
        "wer_rover": rates["vote"],
        "wer_mbr": rates["least risk"],
        "wer_weighted": rates["weighted"],
        "tier_wer": rates["measures and tiers"],
        "tier_always_wer": rates["vote"],
        "tier_model_time_ratio": round(tiers.seconds / always.seconds, 3),
        "wer_wrong_hint": rates["tiers, wrong hint"],
        **calibration_error(clips),
    }


def calibration_error(clips: Sequence[Clip]) -> dict[str, float]:
    """Calibration error of all words of all models, before and after calibration.

    The test sets were not used to calibrate.
    """
    models = read_calibration(CALIBRATION).models
    before: list[float] = []
    after: list[float] = []
    right: list[bool] = []
    for clip in clips:
        reference = candidate("", Hypothesis(text=clip.utterance.text)).keys
        for name, heard in clip.heard.items():
            raw = candidate(name, heard)
            before += raw.confidences
            after += calibrated(raw.confidences, models[name])
            right += correct_words(reference, raw.keys)
    return {
        "ece_before": round(expected_calibration_error(before, right), 4),
        "ece_after": round(expected_calibration_error(after, right), 4),
    }


def _of(counts: Sequence[ErrorCounts], clips: Sequence[Clip], domain: str) -> list[ErrorCounts]:
    return [each for each, clip in zip(counts, clips, strict=True) if clip.domain == domain]


def _wer(counts: Sequence[ErrorCounts]) -> float:
    return sum(counts, start=ErrorCounts()).percent or 0.0


def _scores(counts: Sequence[ErrorCounts]) -> list[UtteranceScore]:
    return [UtteranceScore(words=each, characters=ErrorCounts()) for each in counts]


def _time(each: Outcome, clips: Sequence[Clip]) -> float:
    """Processing time, in units of the mean time of one model."""
    one = sum(sum(clip.seconds.values()) / len(clip.seconds) for clip in clips)
    return each.seconds / one


if __name__ == "__main__":
    typer.run(main)
