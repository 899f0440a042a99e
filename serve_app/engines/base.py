"""What a model must be able to do to be served: the engine protocol and its result types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeGuard

import msgspec
import numpy as np
import numpy.typing as npt

from schemas.failures import ErrorCode
from schemas.transcript import Word

#: Mono audio, float32 in [-1, 1], shape [samples].
Clip = npt.NDArray[np.float32]


class Hypothesis(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine heard in one clip.

    Attributes:
        text: the words, as the model spells them.
        confidence: 0 to 1; None where the engine has none.
        words: with times in seconds from the start of the clip; None unless asked for.
        phrases: how many of the clip's own phrases were listened for; None where it has none, or
            the engine cannot.
    """

    text: str
    confidence: float | None = None
    words: list[Word] | None = None
    phrases: int | None = None


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """Why an engine has no hypothesis for one clip; its neighbours in the batch have theirs."""

    code: ErrorCode
    message: str


#: What a clip is listened to for, beside what the model always listens for.
Phrases = tuple[str, ...]


class Engine(Protocol):
    """A loaded model. Used from one thread only.

    An engine of your own is a class with this shape whose constructor takes the model's
    `schemas.settings.ModelSettings`; name it in the settings as ``package.module:Class``.

    Attributes:
        sample_rate: hertz that the clips must have.
        sha256: digest of the model file; empty where there is none.
        device: "cpu" or "cuda".
    """

    sample_rate: int
    sha256: str
    device: str

    def transcribe(
        self, clips: Sequence[Clip], *, words: bool = False
    ) -> list[Hypothesis | Rejection]:
        """One hypothesis or rejection per clip, in order.

        Blocks. Raises only where the engine as a whole is broken; what is wrong with one clip is
        its `Rejection`.
        """
        ...


class PhraseEngine(Engine, Protocol):
    """An engine that can listen for phrases of each clip.

    Attributes:
        takes_phrases: True; an engine without it, or with False, is never given any.
    """

    takes_phrases: bool

    def transcribe(
        self, clips: Sequence[Clip], *, words: bool = False, phrases: Sequence[Phrases] = ()
    ) -> list[Hypothesis | Rejection]:
        """See `Engine`.

        Args:
            phrases: of each clip, mostly none; empty where no clip has any.
        """
        ...


def takes_phrases(engine: Engine) -> TypeGuard[PhraseEngine]:
    """Whether `engine` can listen for phrases of each clip."""
    return bool(getattr(engine, "takes_phrases", False))
