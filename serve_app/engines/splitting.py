"""Split long audio at silences, so that each piece fits the model, and join the hypotheses."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from schemas.transcript import Word
from serve_app.audio.clip import Clip
from serve_app.engines.base import Hypothesis

#: Loudness is averaged over this span: long enough to bridge the closure of a stop consonant
#: (50-100 ms), short enough to fit between two words.
PAUSE_SECONDS = 0.2
#: Distance between possible cuts.
STEP_SECONDS = 0.01
#: Shortest piece, or half the limit if that is shorter: models need some context.
MIN_PIECE_SECONDS = 1.0


def split_at_silences(clip: Clip, sample_rate: int, max_seconds: float) -> list[tuple[int, int]]:
    """Cut `clip` into consecutive pieces of at most `max_seconds`.

    Each cut is made in the middle of the quietest `PAUSE_SECONDS` in the last third before the
    limit: a minimum of energy, not a decision about speech, so that there always is one. Of
    equally quiet places the last is taken, which makes fewer pieces.

    Args:
        clip: mono samples.
        sample_rate: in hertz.
        max_seconds: longest piece.

    Returns:
        Half-open spans (first sample, end) that cover the clip without gap or overlap; a single
        one if the clip is short enough.
    """
    limit = int(max_seconds * sample_rate)
    shortest = min(int(MIN_PIECE_SECONDS * sample_rate), limit // 2)
    spans: list[tuple[int, int]] = []
    start = 0
    while (rest := len(clip) - start) > limit:
        first = min(limit * 2 // 3, rest // 2)
        last = min(limit, rest - shortest)
        cut = start + first + _quietest(clip[start + first : start + last], sample_rate)
        spans.append((start, cut))
        start = cut
    return [*spans, (start, len(clip))]


def _quietest(window: Clip, sample_rate: int) -> int:
    """Offset of the middle of the quietest span of `window`; its end if the window is too short."""
    step = max(1, int(STEP_SECONDS * sample_rate))
    span = round(PAUSE_SECONDS / STEP_SECONDS)
    steps = len(window) // step
    if steps < span:
        return len(window)
    frames = window[: steps * step].reshape(steps, step)
    energy: npt.NDArray[np.float64] = np.einsum("ij,ij->i", frames, frames, dtype=np.float64)
    loudness = np.convolve(energy, np.ones(span), mode="valid")
    quietest = len(loudness) - 1 - int(np.argmin(loudness[::-1]))
    return quietest * step + span * step // 2


def join_hypotheses(parts: Sequence[tuple[float, Hypothesis]]) -> Hypothesis:
    """Join the hypotheses of the pieces of one clip.

    Texts are joined by a space, words are shifted to their place in the clip, and confidences are
    averaged, weighted by the number of words. If a piece with text has no words (no confidence),
    the result has none.

    Args:
        parts: for each piece, its start in seconds and its hypothesis.
    """
    if len(parts) == 1 and parts[0][0] == 0:
        return parts[0][1]
    spoken = [(start, part) for start, part in parts if part.text.strip()]
    counts = [len(part.text.split()) for _, part in spoken]
    confidences = [part.confidence for _, part in spoken if part.confidence is not None]
    confidence: float | None = None
    if spoken and len(confidences) == len(spoken):
        weighted = sum(each * count for each, count in zip(confidences, counts, strict=True))
        confidence = round(weighted / sum(counts), 4)
    words: list[Word] | None = None
    if all(part.words is not None for _, part in parts):
        words = [_moved(word, start) for start, part in parts for word in part.words or ()]
    return Hypothesis(
        text=" ".join(part.text.strip() for _, part in spoken), confidence=confidence, words=words
    )


def _moved(word: Word, seconds: float) -> Word:
    return msgspec.structs.replace(
        word, start=round(word.start + seconds, 3), end=round(word.end + seconds, 3)
    )
