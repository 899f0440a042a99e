"""How much speech a part of a set needs for its WER to say something."""

from __future__ import annotations

MIN_WORDS, MIN_UTTERANCES = 10, 3


def is_thin(words: int, utterances: int) -> bool:
    """Whether a part of so many reference words and utterances has too little speech."""
    return words < MIN_WORDS or utterances < MIN_UTTERANCES
