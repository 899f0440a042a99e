"""Take out what a model heard where nobody speaks: noise can make any model write words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from schemas.transcript import Suppressed, Word
from serve_app.audio.clip import Clip
from serve_app.audio.voice_activity import FRAME_S
from serve_app.routing.plans import Decision

#: Speech within so many seconds of a word may be the word: the times of words are estimates.
MARGIN_S = 0.5


def without_silence(
    found: Decision, speech: Clip, limit: float
) -> tuple[Decision, list[Suppressed]]:
    """The decision without its words where nobody speaks, and those words.

    A word goes if the probability that nobody speaks near it is above `limit` all the time, so a
    moment of speech keeps it. Without word times the whole text is judged.

    Args:
        found: what was decided.
        speech: probability of speech in each frame of `FRAME_S` seconds.
        limit: from 0 to 1.
    """
    if not found.text.strip():
        return found, []
    words = found.words
    if not words:
        if _is_speech(speech, limit):
            return found, []
        whole = Suppressed(text=found.text, start=0.0, end=round(len(speech) * FRAME_S, 3))
        return replace(found, text=""), [whole]
    kept = [_is_speech(_near(speech, word), limit) for word in words]
    if all(kept):
        return found, []
    spoken = [word for word, keep in zip(words, kept, strict=True) if keep]
    text = " ".join(word.word for word in spoken)
    return replace(found, text=text, words=spoken), _joined(words, kept)


def _near(speech: Clip, word: Word) -> Clip:
    first = max(int((word.start - MARGIN_S) / FRAME_S), 0)
    last = int((word.end + MARGIN_S) / FRAME_S) + 1
    return speech[min(first, len(speech) - 1) : last]


def _is_speech(speech: Clip, limit: float) -> bool:
    return len(speech) > 0 and 1 - float(speech.max()) <= limit


def _joined(words: Sequence[Word], kept: Sequence[bool]) -> list[Suppressed]:
    """The words that were not kept, those that follow each other as one."""
    found: list[Suppressed] = []
    follows = False
    for word, keep in zip(words, kept, strict=True):
        if not keep:
            start, text = word.start, word.word
            if follows:
                last = found.pop()
                start, text = last.start, f"{last.text} {text}"
            found.append(Suppressed(text=text, start=start, end=word.end))
        follows = not keep
    return found
