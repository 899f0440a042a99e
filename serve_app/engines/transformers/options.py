"""What `models.NAME.options` may hold for the engine "transformers"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from serve_app.engines.errors import EngineError

_Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]
_Temperature = Annotated[float, msgspec.Meta(gt=0, le=2)]


class CtcOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A CTC model has none."""


class WhisperOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of a Whisper model; the guards are those of OpenAI's implementation.

    Attributes:
        language: code of the language of clips whose record has none that the model knows; None
            lets the model hear which it is.
        task: "transcribe", or "translate" into English.
        max_tokens: most tokens for 30 seconds; None for as many as the model can write.
        no_speech: a clip whose probability of silence is higher, and whose mean log probability
            is lower than `logprob`, is silent; None believes every clip to be spoken.
        logprob: a text whose tokens have a lower mean log probability is decoded again, at the
            next of `temperatures`; None takes any.
        compression_ratio: a text that zlib makes shorter by a larger factor repeats itself: it is
            decoded again, and rejected where no temperature helps; None takes any.
        temperatures: the temperatures to sample at in turn, always with the same random numbers;
            empty to decode each clip once, greedily.
    """

    language: str | None = None
    task: Literal["transcribe", "translate"] = "transcribe"
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    no_speech: _Probability | None = 0.6
    logprob: Annotated[float, msgspec.Meta(le=0)] | None = -1.0
    compression_ratio: Annotated[float, msgspec.Meta(ge=1)] | None = 2.4
    temperatures: Annotated[tuple[_Temperature, ...], msgspec.Meta(max_length=10)] = (
        0.2,
        0.4,
        0.6,
        0.8,
        1.0,
    )


Options = TypeVar("Options", CtcOptions, WhisperOptions)


def read_options(options: Mapping[str, Any], kind: type[Options]) -> Options:
    """The options of the settings.

    Raises:
        EngineError: there is no such option, or its value cannot be.
    """
    try:
        return msgspec.convert(dict(options), kind)
    except msgspec.ValidationError as error:
        raise EngineError(f"options: {error}") from None
