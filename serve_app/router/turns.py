"""Who says what in which order: the utterances of several channels, as a reader expects them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from schemas.transcript import Word

#: A pause between words of this many seconds ends an utterance.
PAUSE_S = 0.8


class Turn(NamedTuple):
    """An utterance of a channel: its words."""

    channel: int
    words: Sequence[Word]


def utterances(words: Sequence[Word]) -> Iterator[Sequence[Word]]:
    """The words between pauses of `PAUSE_S`."""
    first = 0
    for place, (word, following) in enumerate(pairwise(words), 1):
        if following.start - word.end >= PAUSE_S:
            yield words[first:place]
            first = place
    if words:
        yield words[first:]


def in_turns(channels: Mapping[int, Sequence[Word]]) -> list[Turn]:
    """The utterances of all channels in the order in which they begin.

    An utterance stays whole, whatever is said on other channels meanwhile.

    Args:
        channels: the words of each, in order, by number.
    """
    turns = [
        Turn(channel, said) for channel, words in channels.items() for said in utterances(words)
    ]
    return sorted(turns, key=lambda turn: turn.words[0].start)


def text_of(turns: Sequence[Turn]) -> str:
    """What is said, in order."""
    return " ".join(word.word for turn in turns for word in turn.words)
