"""What the heads of the families have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from schemas.requests import ClipRequest
from serve_app.audio.clip import Clip
from serve_app.engines.base import Hypothesis, Language, Rejection


class Piece(NamedTuple):
    """A clip that the model hears at once.

    Attributes:
        clip: mono float32 samples, at least one.
        words: whether its hypothesis carries words with times.
        language: of its record; None without one.
    """

    clip: Clip
    words: bool = False
    language: str | None = None

    @classmethod
    def of(cls, clip: Clip, request: ClipRequest, *, words: bool) -> Piece:
        """Make a piece of the clip of a request; `words` says whether every clip has words."""
        return cls(clip, words or request.words, request.language)


class Head(Protocol):
    """A model with its decoder.

    Attributes:
        sample_rate: of the clips, in hertz.
        max_seconds: the longest clip that the model hears.
        min_samples: what shorter clips are padded to.
        pads: whether clips of different length can be in a batch.
    """

    sample_rate: int
    max_seconds: float
    min_samples: int
    pads: bool

    def transcribe(self, pieces: Sequence[Piece]) -> list[Hypothesis | Rejection]:
        """Transcribe a batch; one result per piece, in order. Blocks."""
        ...

    def identify(self, clips: Sequence[Clip]) -> list[Language]:
        """The language at the beginning of each clip, in order. Blocks.

        Raises:
            EngineError: the model knows one language only.
        """
        ...
