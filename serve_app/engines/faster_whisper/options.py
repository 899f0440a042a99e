"""The options of the faster-whisper engine."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from schemas.settings import ModelSettings
from serve_app.engines.errors import EngineError
from serve_app.engines.options import read_options
from serve_app.engines.whisper_options import SharedWhisperOptions


class FasterWhisperOptions(SharedWhisperOptions, frozen=True, kw_only=True):
    """What `options` of a model with the engine `faster-whisper` may have.

    Attributes:
        compute_type: number format that the model computes in; "auto" is the model's `dtype`, or
            int8 on a CPU and float16 on a GPU.
        beam_size: hypotheses that are followed at a time; 1 is the fastest.
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


def options_of(settings: ModelSettings) -> FasterWhisperOptions:
    """The options in the settings of a model.

    Raises:
        EngineError: one does not exist or has an impossible value, or the settings have a key that
            this engine has no use for.
    """
    if settings.head != "auto":
        raise EngineError("`head` is for hybrid models of NeMo")
    return read_options(settings.options, FasterWhisperOptions)


def compute_type(options: FasterWhisperOptions, settings: ModelSettings, device: str) -> str:
    """The number format for a device, "cpu" or "cuda"."""
    if options.compute_type != "auto":
        return options.compute_type
    if settings.dtype != "auto":
        return settings.dtype
    return "float16" if device == "cuda" else "int8"
