"""`python -m deploy.demo.matrix`: the WER of every demo model on every test set.

By the serving engine, on the corpus' test sets, which are made from the seed if they are not there.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from deploy.demo import MODELS
from deploy.demo.corpus import CORPUS
from deploy.demo.corpus.voices import HELD_OUT_VOICES
from deploy.local import ROOT
from schemas.settings import ModelSettings
from serve_app.engines.base import Engine, Hypothesis
from serve_app.engines.load import load_engine
from serve_app.wer import NORMALISER, ErrorCounts, count_errors
from workers.speech import ManifestFaultsError, Utterance, check_manifest, read_audio

#: Test sets in the order of the table; `unseen` only where it was made.
SETS = ("general", "medical", "legal", "telephony", "noisy", "unseen")
_HELD_OUT = frozenset(voice for _, voices in HELD_OUT_VOICES for voice in voices)


def main(
    corpus: Annotated[Path, typer.Option(help="Folder of the corpus.")] = CORPUS,
    models: Annotated[Path, typer.Option(help="Folder of .nemo files.")] = MODELS,
    page: Annotated[Path | None, typer.Option(help="Write the table to this page too.")] = None,
) -> None:
    """Print the WER in percent, models by sets; the last line is one JSON object."""
    make = [sys.executable, "-m", "deploy.demo.corpus", "make", "--splits", "test"]
    if subprocess.run([*make, "--out", f"{corpus}"]).returncode:
        sys.exit(1)  # it has said why
    tests = {
        name: read(path) for name in SETS if (path := corpus / "test" / f"{name}.jsonl").exists()
    }
    wer: dict[str, dict[str, float]] = {}
    by_voice: dict[str, dict[str, float]] = {}
    typer.echo(f"{'':12}" + "".join(f"{name:>11}" for name in tests))
    names = sorted((path.stem for path in models.glob("*.nemo")), key=_order)
    for name in names:
        engine = load_engine(ModelSettings(path=f"{models / name}.nemo", confidence=False))
        errors = {set_: measure(engine, clips) for set_, clips in tests.items()}
        wer[name] = {set_: percent(found) for set_, found in errors.items()}
        typer.echo(f"{name:12}" + "".join(f"{rate:11.1f}" for rate in wer[name].values()))
        if name in tests:
            by_voice[name] = voices(tests[name], errors[name])
    figures = {"sets": {name: len(clips) for name, clips in tests.items()}, "wer": wer}
    if page is not None:
        page.write_text(_page(figures["sets"], wer, by_voice))
    typer.echo(json.dumps({**figures, "own_set_by_voice": by_voice}))


def read(manifest: Path) -> list[Utterance]:
    """The utterances of a test set.

    Raises:
        ManifestFaultsError: some of them are not good.
    """
    utterances, faults = check_manifest(manifest, max_seconds=60.0)
    if faults:
        raise ManifestFaultsError(faults)
    return utterances


def measure(engine: Engine, utterances: Sequence[Utterance]) -> list[ErrorCounts]:
    """The errors of the engine's model on each utterance."""
    heard = engine.transcribe([read_audio(each, engine.sample_rate) for each in utterances])
    errors = []
    for utterance, result in zip(utterances, heard, strict=True):
        assert isinstance(result, Hypothesis), f"line {utterance.line}: {result}"
        errors.append(count_errors(utterance.text, result.text))
    return errors


def percent(errors: Sequence[ErrorCounts]) -> float:
    """WER in percent, pooled."""
    return round(sum(errors, start=ErrorCounts()).percent or 0.0, 1)


def voices(utterances: Sequence[Utterance], errors: Sequence[ErrorCounts]) -> dict[str, float]:
    """WER on voices that were in the training data, and on those that were not."""
    parts: dict[str, list[ErrorCounts]] = {"seen": [], "held_out": []}
    for each, found in zip(utterances, errors, strict=True):
        parts["held_out" if each.speaker in _HELD_OUT else "seen"].append(found)
    return {part: percent(found) for part, found in parts.items() if found}


def _order(name: str) -> int:
    return SETS.index(name) if name in SETS else len(SETS)


def _page(
    sets: dict[str, int], wer: dict[str, dict[str, float]], by_voice: dict[str, dict[str, float]]
) -> str:
    git = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    lines = [
        "# WER of the demo models",
        "",
        f"Measured on {datetime.now(UTC).date()} at commit {commit} by `make wer-matrix`: WER in",
        f"percent, pooled, normaliser `{NORMALISER}`, by the serving engine. Test sentences are in",
        "no training set; a quarter of the utterances is spoken by voices that are in none either.",
        "",
        "| model | " + " | ".join(sets) + " |",
        "|---|" + "---|" * len(sets),
    ]
    for model, rates in wer.items():
        cells = (f"**{r:.1f}**" if name == model else f"{r:.1f}" for name, r in rates.items())
        lines.append(f"| {model} | " + " | ".join(cells) + " |")
    lines += ["| utterances | " + " | ".join(map(str, sets.values())) + " |", ""]
    if "unseen" in sets:
        lines += [
            "`unseen` is the general test set by a neural synthesiser (Piper) that no model heard.",
            "",
        ]
    lines += [
        "Each model on its own set, by voice:",
        "",
        "| model | seen | held out |",
        "|---|---|---|",
    ]
    for model, rates in by_voice.items():
        lines.append(f"| {model} | {rates.get('seen', '-')} | {rates.get('held_out', '-')} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    typer.run(main)
