"""The options of the faster-whisper engine."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from schemas.decoding import reason_and_key, with_known
from schemas.settings import ModelSettings
from serve_app.engines.errors import EngineError

_Temperature = Annotated[float, msgspec.Meta(gt=0, le=1)]


class FasterWhisperOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `options` of a model with the engine `faster-whisper` may have.

    The thresholds are those of the reference implementation, with its values.

    Attributes:
        compute_type: number format that the model computes in; "auto" is the model's `dtype`, or
            int8 on a CPU and float16 on a GPU.
        beam_size: hypotheses that are followed at a time; 1 is the fastest.
        language: code of the language of clips that do not say it; None finds it out for each clip.
        task: "translate" writes English whatever is spoken.
        temperatures: of the attempts after a first one, at 0, whose text is not good enough.
        compression_ratio_threshold: a text that compresses better than that repeats itself.
        log_prob_threshold: a text whose tokens have a lower mean log-probability is not good
            enough.
        no_speech_threshold: a clip in which nobody speaks with a higher probability has no text,
            if its tokens are not above `log_prob_threshold`.
    """

    compute_type: Literal[
        "auto",
        "int8",
        "int8_float32",
        "int8_float16",
        "int8_bfloat16",
        "int16",
        "float16",
        "bfloat16",
        "float32",
    ] = "auto"
    beam_size: Annotated[int, msgspec.Meta(ge=1, le=32)] = 5
    language: str | None = None
    task: Literal["transcribe", "translate"] = "transcribe"
    temperatures: tuple[_Temperature, ...] = (0.2, 0.4, 0.6, 0.8, 1.0)
    compression_ratio_threshold: Annotated[float, msgspec.Meta(gt=0)] = 2.4
    log_prob_threshold: Annotated[float, msgspec.Meta(le=0)] = -1.0
    no_speech_threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.6


def options_of(settings: ModelSettings) -> FasterWhisperOptions:
    """The options in the settings of a model.

    Raises:
        EngineError: one does not exist or has an impossible value, or the settings have a key that
            this engine has no use for.
    """
    if settings.head != "auto":
        raise EngineError("`head` is for hybrid models of NeMo")
    try:
        return msgspec.convert(settings.options, FasterWhisperOptions)
    except msgspec.ValidationError as error:
        reason, key = with_known(*reason_and_key(error), FasterWhisperOptions)
        raise EngineError(f"options.{key}: {reason}".replace(".:", ":")) from error


def compute_type(options: FasterWhisperOptions, settings: ModelSettings, device: str) -> str:
    """The number format for a device, "cpu" or "cuda"."""
    if options.compute_type != "auto":
        return options.compute_type
    if settings.dtype != "auto":
        return settings.dtype
    return "float16" if device == "cuda" else "int8"
