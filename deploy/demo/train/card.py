"""A model's card: what it was made from and how well it does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploy.demo.corpus.voices import HELD_OUT_VOICES
from deploy.demo.train.data import Clip, read_clips
from deploy.demo.train.evaluate import pooled_wer, transcribe
from deploy.demo.train.recipes import Recipe


def make_card(name: str, recipe: Recipe, model: Any, file: Path, corpus: Path) -> dict[str, Any]:
    """The card of `model`, stored in `file`: measured on every test set of `corpus`."""
    sets = sorted((corpus / "test").glob("*.jsonl"))
    tests = {path.stem: read_clips(path) for path in sets}
    texts = {set_: transcribe(model, clips) for set_, clips in tests.items()}
    return {
        "name": name,
        "class": "EncDecCTCModelBPE",
        "made": datetime.now(UTC).date().isoformat(),
        "base": recipe.base,
        "data": [_portion_facts(corpus, **asdict(portion)) for portion in recipe.portions],
        "hyperparameters": asdict(recipe.hyper),
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "wer_percent": {set_: round(pooled_wer(tests[set_], texts[set_]), 1) for set_ in tests},
        "wer_percent_by_voice": _by_voice(tests[recipe.validation], texts[recipe.validation]),
        "test_utterances": {set_: len(clips) for set_, clips in tests.items()},
        "bytes": file.stat().st_size,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }


def write_card(card: dict[str, Any], path: Path) -> None:
    """Write `card` as indented JSON, at once or not at all."""
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_text(json.dumps(card, indent=2) + "\n")
    unfinished.rename(path)


def _by_voice(clips: Sequence[Clip], texts: Sequence[str]) -> dict[str, float]:
    """WER on the model's own test set, for voices heard in training and for new ones."""
    held_out = {voice for _, voices in HELD_OUT_VOICES for voice in voices}
    parts: dict[str, list[tuple[Clip, str]]] = {"trained": [], "held_out": []}
    for clip, text in zip(clips, texts, strict=True):
        parts["held_out" if clip.voice in held_out else "trained"].append((clip, text))
    return {part: round(pooled_wer(*zip(*pairs, strict=True)), 1) for part, pairs in parts.items()}


def _portion_facts(corpus: Path, set: str, share: float, limit: int | None) -> dict[str, Any]:
    clips = read_clips(corpus / "train" / f"{set}.jsonl", limit)
    hours = sum(clip.duration for clip in clips) / 3600
    return {"set": set, "share": share, "utterances": len(clips), "hours": round(hours, 2)}
