"""Clips as an engine's model takes them: valid, and cut into pieces that it can hear at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from schemas.failures import ErrorCode
from serve_app.audio.clip import Clip
from serve_app.engines.base import Hypothesis, Rejection
from serve_app.engines.splitting import join_hypotheses, split_at_silences

#: What an engine is told about a clip.
Wish = TypeVar("Wish")


def transcribe_pieces(
    clips: Sequence[Clip],
    wishes: Sequence[Wish],
    run: Callable[[list[tuple[Clip, Wish]]], Sequence[Hypothesis | Rejection]],
    *,
    sample_rate: int,
    max_seconds: float,
) -> list[Hypothesis | Rejection]:
    """One hypothesis or rejection per clip, in order, by a model that hears short clips only.

    Clips longer than `max_seconds` are split at silences, and their hypotheses are joined. A clip
    of which one piece is rejected has that rejection.

    Args:
        clips: mono, float32, at `sample_rate`; what is not, or is empty, is rejected.
        wishes: one per clip, which each of its pieces has too.
        run: transcribes pieces; one result for each, in order. Not called without any.
        sample_rate: in hertz.
        max_seconds: longest piece.
    """
    results: list[Hypothesis | Rejection | None] = [clip_fault(clip) for clip in clips]
    pieces: list[tuple[Clip, Wish]] = []
    places: list[tuple[int, float]] = []  # of each piece: index of its clip, start in seconds
    for index, clip in enumerate(clips):
        if results[index] is not None:
            continue
        for first, end in split_at_silences(clip, sample_rate, max_seconds):
            pieces.append((clip[first:end], wishes[index]))
            places.append((index, first / sample_rate))
    parts: dict[int, list[tuple[float, Hypothesis]]] = {}
    for (index, start), heard in zip(places, run(pieces) if pieces else (), strict=True):
        if isinstance(heard, Rejection):
            results[index] = heard
        else:
            parts.setdefault(index, []).append((start, heard))
    return [
        join_hypotheses(parts[index]) if result is None else result
        for index, result in enumerate(results)
    ]


def clip_fault(clip: Clip) -> Rejection | None:
    """The rejection of a clip that no model can transcribe; None for a valid clip."""
    if clip.ndim != 1 or clip.dtype != np.float32:
        message = f"expected mono float32 samples, got {clip.dtype} {clip.shape}"
        return Rejection(code=ErrorCode.MODEL_REJECTED, message=message)
    if not len(clip):
        return Rejection(code=ErrorCode.AUDIO_EMPTY, message="the clip has no samples")
    if not np.isfinite(clip).all():
        message = "the clip contains NaN or infinite samples"
        return Rejection(code=ErrorCode.MODEL_REJECTED, message=message)
    return None
