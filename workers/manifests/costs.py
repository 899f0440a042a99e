"""How many seconds of audio a model computes for a clip, as far as that is known without it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from schemas.settings import ModelSettings, RegistrySettings
from serve_app.engines.errors import EngineError
from serve_app.engines.transformers.folder import check_folder
from serve_app.engines.whisper_options import WINDOW_S
from serve_app.registry.errors import RegistryFaultError, UnknownModelError
from serve_app.registry.source import VersionSource

#: The family of Transformers' models that pads every clip.
_PADDED = "whisper"


def cost_of(
    model: ModelSettings, registry: RegistrySettings | None = None
) -> Callable[[float], float]:
    """The seconds that a model computes for a clip of so many seconds. Blocks while it looks.

    Whisper pads every clip, and every piece of a longer one, to a window. Other models compute what
    they hear, and so does one that cannot be looked at.

    Args:
        model: its settings.
        registry: where versions are, for a model that is named by `model`.
    """
    if not _is_whisper(model, registry):
        return lambda seconds: seconds
    longest = min(WINDOW_S, model.split_seconds)
    return lambda seconds: WINDOW_S * max(1, math.ceil(seconds / longest))


def _is_whisper(model: ModelSettings, registry: RegistrySettings | None) -> bool:
    if model.engine != "transformers":
        return model.engine == "faster-whisper"
    try:
        if model.path is not None:
            return check_folder(Path(model.path)).family == _PADDED
        return VersionSource(model, registry).card().model_class == _PADDED
    except (EngineError, UnknownModelError, RegistryFaultError, OSError):
        return False
