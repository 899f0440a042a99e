"""A model's card: what it was made from and how well it does."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploy.demo.train.data import read_clips
from deploy.demo.train.evaluate import word_error_rate
from deploy.demo.train.recipes import Recipe


def make_card(name: str, recipe: Recipe, model: Any, file: Path, corpus: Path) -> dict[str, Any]:
    """The card of `model`, stored in `file`: measured on every test set of `corpus`."""
    sets = sorted((corpus / "test").glob("*.jsonl"))
    tests = {path.stem: read_clips(path) for path in sets}
    return {
        "name": name,
        "class": "EncDecCTCModelBPE",
        "made": datetime.now(UTC).date().isoformat(),
        "base": recipe.base,
        "data": [_portion_facts(corpus, **asdict(portion)) for portion in recipe.portions],
        "hyperparameters": asdict(recipe.hyper),
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "wer_percent": {set_: round(word_error_rate(model, tests[set_]), 1) for set_ in tests},
        "test_utterances": {set_: len(clips) for set_, clips in tests.items()},
        "bytes": file.stat().st_size,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }


def write_card(card: dict[str, Any], path: Path) -> None:
    """Write `card` as indented JSON, at once or not at all."""
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_text(json.dumps(card, indent=2) + "\n")
    unfinished.rename(path)


def _portion_facts(corpus: Path, set: str, share: float, limit: int | None) -> dict[str, Any]:
    clips = read_clips(corpus / "train" / f"{set}.jsonl", limit)
    hours = sum(clip.duration for clip in clips) / 3600
    return {"set": set, "share": share, "utterances": len(clips), "hours": round(hours, 2)}
