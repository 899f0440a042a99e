"""`python -m research.wer_matrix`: the WER of every demo model on every test set.

Measured with the engine that serves, on the corpus' test sets, which are made first if missing.
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
from deploy.local import ROOT
from research.corpus import CORPUS
from research.corpus.voices import HELD_OUT_VOICES
from serve_app.scoring.wer import NORMALISER
from workers.evaluation import TestSet, compare, read_test_set
from workers.evaluation.comparison.results import UtteranceRow
from workers.evaluation.report import write_report

#: Test sets in the order of the table; `unseen` only if it was made.
SETS = ("general", "medical", "legal", "telephony", "noisy", "unseen")
_HELD_OUT = frozenset(voice for _, voices in HELD_OUT_VOICES for voice in voices)


def main(
    corpus: Annotated[Path, typer.Option(help="Folder of the corpus.")] = CORPUS,
    models: Annotated[Path, typer.Option(help="Folder of .nemo files.")] = MODELS,
    page: Annotated[
        Path | None, typer.Option(help="Write the table to this file, as Markdown.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write an HTML report to this file.")] = None,
) -> None:
    """Print a table of the WER in percent; the last line is one JSON object."""
    make = [sys.executable, "-m", "research.corpus", "make", "--splits", "test"]
    if subprocess.run([*make, "--out", f"{corpus}"]).returncode:
        sys.exit(1)  # the command has printed why
    paths = [corpus / "test" / f"{name}.jsonl" for name in SETS]
    sets = [read_test_set(path) for path in paths if path.exists()]
    names = sorted((path.stem for path in models.glob("*.nemo")), key=_order)
    found = compare([models / f"{name}.nemo" for name in names], sets)
    wer: dict[str, dict[str, float | None]] = {name: {} for name in names}
    for each in found.results:
        wer[each.system][each.test_set] = _rounded(each.score.wer)
    by_voice = {each.name: voices(found.utterances, each) for each in sets if each.name in names}
    typer.echo(f"{'':12}" + "".join(f"{each.name:>11}" for each in sets))
    for name, rates in wer.items():
        typer.echo(f"{name:12}" + "".join(f"{rate:>11}" for rate in rates.values()))
    sizes = {each.name: len(each.utterances) for each in sets}
    if page is not None:
        page.write_text(_page(sizes, wer, by_voice))
    if report is not None:
        write_report(found, report)
    typer.echo(json.dumps({"sets": sizes, "wer": wer, "own_set_by_voice": by_voice}))


def voices(rows: Sequence[UtteranceRow], test_set: TestSet) -> dict[str, float | None]:
    """WER of a set's own model by kind of voice: in the training data, or held out."""
    parts: dict[str, list[UtteranceRow]] = {"seen": [], "held_out": []}
    for row in rows:
        if row.system == row.test_set == test_set.name:
            parts["held_out" if row.speaker in _HELD_OUT else "seen"].append(row)
    return {part: _wer(some) for part, some in parts.items() if some}


def _wer(rows: Sequence[UtteranceRow]) -> float | None:
    words = sum(row.reference_words or 0 for row in rows)
    return _rounded(100 * sum(row.errors or 0 for row in rows) / words) if words else None


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 1)


def _order(name: str) -> int:
    return SETS.index(name) if name in SETS else len(SETS)


def _page(
    sets: dict[str, int],
    wer: dict[str, dict[str, float | None]],
    by_voice: dict[str, dict[str, float | None]],
) -> str:
    git = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    lines = [
        "# WER of the demo models",
        "",
        f"Measured on {datetime.now(UTC).date()} at commit {commit} by `make wer-matrix`: pooled",
        f"WER in percent, normaliser `{NORMALISER}`, with the serving engine. No test sentence is",
        "in a training set; a quarter of the utterances is spoken by voices not in training.",
        "",
        "| model | " + " | ".join(sets) + " |",
        "|---|" + "---|" * len(sets),
    ]
    for model, rates in wer.items():
        cells = (f"**{rate}**" if name == model else f"{rate}" for name, rate in rates.items())
        lines.append(f"| {model} | " + " | ".join(cells) + " |")
    lines += ["| utterances | " + " | ".join(map(str, sets.values())) + " |", ""]
    if "unseen" in sets:
        lines += [
            "`unseen` is the general test set, spoken by a neural synthesiser (Piper) that is not "
            "in training.",
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
