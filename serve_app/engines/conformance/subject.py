"""An engine that is checked, what it is asked, and what a check comes to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from schemas.requests import DEFAULT_REQUEST, ClipRequest
from schemas.transcript import Word
from serve_app.audio.clip import Clip
from serve_app.engines.base import Engine, Hypothesis, Rejection
from serve_app.engines.results import checked_results

State = Literal["ok", "warning", "wrong"]
Result = Hypothesis | Rejection

#: A request with words.
WITH_WORDS = ClipRequest(words=True)
#: How far in seconds a time may be outside the clip by rounding.
_SLACK_S = 0.02


class Verdict(NamedTuple):
    """What a check came to.

    Attributes:
        state: "wrong" if the engine is not what the protocol says; "warning" if it may be worse
            than it need be, or could not be checked.
        said: what was seen, in a sentence without a full stop.
        next: what to do; empty if all is well.
    """

    state: State
    said: str
    next: str = ""


class Subject:
    """An engine that is checked, with the speech that it hears.

    Args:
        engine: with the attributes of the protocol.
        clips: speech at its sample rate: several clips of a few seconds, of different lengths.
        batch_seconds: most padded seconds in one batch.
    """

    def __init__(self, engine: Engine, clips: Sequence[Clip], batch_seconds: float) -> None:
        self.engine = engine
        self.rate = engine.sample_rate
        self.clips = list(clips)
        self.batch_seconds = batch_seconds

    def ask(self, clips: Sequence[Clip], requests: Sequence[ClipRequest] = ()) -> list[Result]:
        """Call the engine with copies of clips.

        Raises:
            ResultError: what it returns is not what the protocol says.
            Exception: it raises.
        """
        requests = requests or [DEFAULT_REQUEST] * len(clips)
        results = self.engine.transcribe([clip.copy() for clip in clips], list(requests))
        return checked_results(results, len(clips))

    @cached_property
    def together(self) -> list[Result]:
        """The results of the clips in one batch."""
        return self.ask(self.clips)

    @cached_property
    def alone(self) -> list[Result]:
        """The results of the clips, each in a batch of its own."""
        return [self.ask([clip])[0] for clip in self.clips]

    @cached_property
    def steady(self) -> bool:
        """Whether it gives the same texts twice."""
        return texts_of(self.ask(self.clips)) == texts_of(self.together)

    def zeros(self, seconds: float) -> Clip:
        """Digital silence."""
        return np.zeros(int(seconds * self.rate), np.float32)


#: Asks the engine, and comes to a verdict.
Check = Callable[[Subject], Verdict]


def hypotheses(found: Sequence[Result]) -> list[Hypothesis]:
    """The results that are no rejections."""
    return [each for each in found if isinstance(each, Hypothesis)]


def texts_of(found: Sequence[Result]) -> list[str]:
    """The text of each result; a rejection has none."""
    return [each.text.strip() if isinstance(each, Hypothesis) else "" for each in found]


def time_fault(words: Sequence[Word], seconds: float) -> str | None:
    """What is wrong with the times of the words of a clip; None if nothing is."""
    before = 0.0
    for number, word in enumerate(words, 1):
        if word.end > seconds + _SLACK_S:
            return (
                f"word {number} of {len(words)} ends at {word.end:.2f} s, "
                f"in a clip of {seconds:.2f} s"
            )
        if word.start < before - _SLACK_S:
            return (
                f"word {number} of {len(words)} starts at {word.start:.2f} s, "
                f"before the one in front of it ({before:.2f} s)"
            )
        before = word.start
    if len(words) > 1 and not any(word.end for word in words):
        return "all words are at 0 s"
    return None
