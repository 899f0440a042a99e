"""What a Whisper model takes in every engine, and how it guards against invented text."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from serve_app.engines.options import Options
from serve_app.engines.repetition import repetition

#: A Whisper model hears so many seconds at once; shorter clips are padded to them.
WINDOW_S = 30.0

_Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]
_Temperature = Annotated[float, msgspec.Meta(gt=0, le=1)]


class SharedWhisperOptions(Options, frozen=True, kw_only=True):
    """The options of every Whisper model.

    The thresholds have the names and values of OpenAI's implementation (`whisper/transcribe.py`).

    Attributes:
        language: code of the language of clips whose record has none that the model knows; None
            lets the model hear which it is.
        task: "transcribe", or "translate" into English.
        temperatures: of the attempts after a first one, at 0, whose text is not good enough, always
            with the same random numbers; empty for one attempt.
        compression_ratio_threshold: a text that zlib makes shorter by a larger factor repeats
            itself: it is decoded again, and the clip rejected where no temperature helps; None
            takes any.
        logprob_threshold: a text whose tokens have a lower mean log probability is doubtful, and
            decoded again; None doubts none.
        no_speech_threshold: a clip whose probability of silence is higher, and whose text is
            doubtful, has no text; None believes every clip to be spoken.
    """

    language: str | None = None
    task: Literal["transcribe", "translate"] = "transcribe"
    temperatures: Annotated[tuple[_Temperature, ...], msgspec.Meta(max_length=10)] = (
        0.2,
        0.4,
        0.6,
        0.8,
        1.0,
    )
    compression_ratio_threshold: Annotated[float, msgspec.Meta(gt=0)] | None = 2.4
    logprob_threshold: Annotated[float, msgspec.Meta(le=0)] | None = -1.0
    no_speech_threshold: _Probability | None = 0.6

    def doubts(self, mean_logprob: float) -> bool:
        """Whether a text is too improbable to be believed at once."""
        return self.logprob_threshold is not None and mean_logprob < self.logprob_threshold

    def hears_silence(self, no_speech: float, mean_logprob: float) -> bool:
        """Whether nobody speaks, so that a text is none: silence is probable, and the text not."""
        if self.no_speech_threshold is None or no_speech <= self.no_speech_threshold:
            return False
        return self.logprob_threshold is None or self.doubts(mean_logprob)

    def sees_loop(self, text: str) -> bool:
        """Whether a text repeats itself."""
        return repetition(text, self.compression_ratio_threshold) is not None
