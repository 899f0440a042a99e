"""The engine protocol, which a model must implement to be served, and its result types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec

from schemas.failures import ErrorCode
from schemas.requests import ClipRequest
from schemas.settings import LANGUAGE, LANGUAGE_CONFIDENCE
from schemas.transcript import Word

# part of the protocol: custom engines import it from here
from serve_app.audio.clip import Clip as Clip


class Language(NamedTuple):
    """The language that an engine heard in one clip.

    Attributes:
        code: of the language, as the model names it ("de").
        probability: 0 to 1.
    """

    code: str
    probability: float

    @property
    def measures(self) -> dict[str, float | str]:
        """It as measures of the audio, by the names that rules use."""
        return {LANGUAGE: self.code, LANGUAGE_CONFIDENCE: self.probability}


class Hypothesis(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine recognised in one clip.

    Attributes:
        text: the words, as the model spells them.
        confidence: 0 to 1; None if the engine has none. Numbers of NumPy are taken too.
        words: with times in seconds from the start of the clip; None unless requested.
        phrases: how many of the clip's own phrases recognition was biased towards; None if it has
            none, or the engine does not support it.
        language: what `identify_languages` heard; `transcribe` leaves it None.
    """

    text: str
    confidence: float | None = None
    words: list[Word] | None = None
    phrases: int | None = None
    language: Language | None = None


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """Why an engine has no hypothesis for one clip; other clips of the batch are not affected.

    Attributes:
        code: the error code of the record.
        message: the reason, for people.
    """

    code: ErrorCode
    message: str


class Engine(Protocol):
    """A loaded model. Used from one thread only; see docs/engines.md.

    A custom engine is a class with these members whose constructor takes the model's
    `schemas.settings.ModelSettings`; name it in the settings as ``package.module:Class``, and hold
    it against this protocol by `chorus engine check`. It may have a method `warm_up()`, which is
    called once before the first clip. Programs that it starts do not get SIGTERM, as it does not
    itself, so it ends them with SIGKILL.

    Attributes:
        sample_rate: sample rate that the clips must have, in hertz.
        sha256: digest of the model file; empty if there is none.
        device: "cpu" or "cuda".

    It may have more: `min_samples`, what shorter clips are padded to, in samples, so that batches
    are cut by what they cost; `warm_up()`, called once after loading; `model_class` and
    `parameters` for reports; `identify_languages(clips)`, one (code, probability) for each clip, or
    None where it cannot tell, so that `routing.language_model` can name its model. A model that
    cannot identify languages, though its engine can, raises `EngineError` there.
    """

    sample_rate: int
    sha256: str
    device: str

    def transcribe(
        self, clips: Sequence[Clip], requests: Sequence[ClipRequest]
    ) -> list[Hypothesis | Rejection]:
        """One hypothesis or rejection per clip, in order; the same again for the same clip.

        Blocks. A clip that cannot be transcribed is its `Rejection`, which is final and the clip's
        fault. If it raises, or a result is not what is described here, the batch is tried in
        halves, and the clip that it happens with alone counts as a fault of the engine: tried
        again, then given up (`MODEL_FAULT`). An engine that fails on any audio raises
        `serve_app.engines.errors.EngineError`; its replica is replaced.

        Args:
            clips: mono float32 audio at `sample_rate`; read-only, and never changed.
            requests: one per clip; the engine ignores what it does not support.
        """
        ...
