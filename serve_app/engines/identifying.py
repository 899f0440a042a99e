"""Have an engine say which language is spoken."""

from __future__ import annotations

from typing import Any

from serve_app.audio.clip import Clip
from serve_app.engines.available import can_identify
from serve_app.engines.base import Engine, Language
from serve_app.engines.batches import noise
from serve_app.engines.errors import EngineError, cause_of
from serve_app.engines.results import checked_languages, engine_name
from serve_app.engines.whisper_options import WINDOW_S


def identified(engine: Any, clips: list[Clip]) -> list[Language | None]:
    """The language at the beginning of each clip; None where the engine cannot tell. Blocks.

    Args:
        engine: that can identify languages, see `can_identify`.
        clips: mono float32 audio at its sample rate.

    Raises:
        ResultError: what it returns is not what its protocol says.
        Exception: it raises.
    """
    most = int(WINDOW_S * engine.sample_rate)
    found = engine.identify_languages([clip[:most] for clip in clips])
    return checked_languages(found, len(clips))


def check_identifies(engine: Engine) -> None:
    """Ask for the language of a second of noise. Blocks while the model runs.

    Raises:
        EngineError: the engine, or its model, cannot identify languages.
    """
    name = engine_name(engine)
    if not can_identify(engine):
        raise EngineError(f"the engine {name} identifies no languages, as a language model must")
    try:
        identified(engine, [noise(engine.sample_rate)])
    except EngineError:
        raise
    except Exception as error:
        raise EngineError(f"the engine {name} identifies no language: {cause_of(error)}") from error
