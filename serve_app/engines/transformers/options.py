"""What `models.NAME.options` may hold for the engine "transformers"."""

from __future__ import annotations

from typing import Annotated

import msgspec

from serve_app.engines.options import Options
from serve_app.engines.whisper_options import SharedWhisperOptions


class NoOptions(Options, frozen=True, kw_only=True):
    """A CTC or TDT model has none."""


class WhisperOptions(SharedWhisperOptions, frozen=True, kw_only=True):
    """Options of a Whisper model.

    Attributes:
        max_tokens: most tokens for 30 seconds; None for as many as the model can write.
    """

    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
