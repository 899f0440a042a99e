"""Render planned utterances as audio files and NeMo manifest entries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.random import default_rng

from research.corpus import channel
from research.corpus.plan import Utterance
from research.corpus.voices import SAMPLE_RATE, Prompt, synthesise
from serve_app.audio.acoustics import TELEPHONE_RATE, Samples

#: The recording conditions of each domain.
CONDITIONS = {
    "general": ("clean", "telephony", "noisy"),
    "medical": ("clean",),
    "legal": ("clean",),
}
#: Utterances that are rendered together: their speech serves as each other's babble.
SHARD = 50


def render(
    utterances: Sequence[Utterance], conditions: Sequence[str]
) -> Iterator[tuple[Utterance, str, Samples, int]]:
    """Synthesise utterances under each condition.

    Args:
        utterances: at least two, since the noise of one may be the speech of the others.
        conditions: "clean", "telephony" or "noisy".

    Yields:
        Utterance, condition, float32 [samples], sample rate in hertz.
    """
    prompts = [
        Prompt(sentence, one.voice, one.tempo, one.pitch)
        for one in utterances
        for sentence in one.sentences
    ]
    spoken = iter(synthesise(prompts))
    clean = [_join([next(spoken) for _ in one.sentences], one.seed) for one in utterances]
    for i, one in enumerate(utterances):
        for number, condition in enumerate(conditions):
            rng = default_rng([one.seed, number])
            if condition == "telephony":
                yield one, condition, channel.telephone(clean[i], rng), TELEPHONE_RATE
                continue
            samples = clean[i]
            if condition == "noisy":
                samples = channel.noisy(samples, clean[:i] + clean[i + 1 :], rng)
            yield one, condition, channel.at_level(samples, rng), SAMPLE_RATE


def write_set(
    utterances: Sequence[Utterance], folders: dict[str, Path], suffixes: dict[str, str]
) -> dict[str, list[dict[str, Any]]]:
    """Render utterances to one file each.

    Args:
        utterances: what to render.
        folders: folder of the audio by condition; created if missing. Paths in the entries are
            relative to the parent of that folder.
        suffixes: by condition, `.flac`, or `.opus` for Ogg/Opus, which takes a quarter of the
            space.

    Returns:
        The manifest entries by condition.
    """
    entries: dict[str, list[dict[str, Any]]] = {condition: [] for condition in folders}
    for one, condition, samples, rate in render(utterances, list(folders)):
        folder = folders[condition]
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{one.id}{suffixes[condition]}"
        if path.suffix == ".opus":
            soundfile.write(path, samples, rate, format="OGG", subtype="OPUS")
        else:
            soundfile.write(path, samples, rate, subtype="PCM_16")
        entries[condition].append(
            {
                "id": one.id if condition == "clean" else f"{one.id}-{condition}",
                "audio_filepath": f"{folder.name}/{path.name}",
                "duration": round(len(samples) / rate, 4),
                "text": one.text,
                "lang": "en",
                "domain": one.domain,
                "conditions": condition,
                "voice": one.voice,
            }
        )
    return entries


def _join(sentences: Sequence[Samples], seed: int) -> Samples:
    """Join sentences, with pauses of 0.2-0.7 s between them."""
    rng = default_rng(seed)
    parts = [sentences[0]]
    for sentence in sentences[1:]:
        pause = np.zeros(int(rng.uniform(0.2, 0.7) * SAMPLE_RATE), np.float32)
        parts += [pause, sentence]
    return np.concatenate(parts)
