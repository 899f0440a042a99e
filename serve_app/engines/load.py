"""Load the engine that the settings name, and check that an engine works."""

from __future__ import annotations

import importlib

import numpy as np

from schemas.settings import ModelSettings
from serve_app.engines.base import Engine, Rejection
from serve_app.engines.errors import EngineError


def load_engine(settings: ModelSettings) -> Engine:
    """The engine of one model, loaded. Blocks for seconds.

    Args:
        settings: `settings.engine` is "nemo", or ``package.module:Class`` of an engine of your
            own, which is called with `settings`.

    Raises:
        EngineError: there is no such class, it lacks a part of the `Engine` protocol, or it
            cannot load its model.
    """
    if settings.engine == "nemo":
        from serve_app.engines.nemo import NemoEngine

        return NemoEngine(settings)
    module, _, name = settings.engine.partition(":")
    try:
        engine: Engine = getattr(importlib.import_module(module), name)(settings)
    except EngineError:
        raise
    except Exception as error:
        raise EngineError(f"engine {settings.engine!r}: {type(error).__name__}: {error}") from error
    for part in ("sample_rate", "sha256", "device", "transcribe"):
        if not hasattr(engine, part):
            raise EngineError(f"engine {settings.engine!r}: has no `{part}` (see `Engine`)")
    return engine


def check_engine(engine: Engine) -> None:
    """Transcribe a second of noise: the health check of any engine. Blocks while the model runs.

    Raises:
        EngineError: the engine raises, rejects the clip, or gives another number of results.
    """
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.05, engine.sample_rate).astype(np.float32)
    try:
        results = engine.transcribe([noise])
    except EngineError:
        raise
    except Exception as error:
        raise EngineError(f"the engine fails: {type(error).__name__}: {error}") from error
    if len(results) != 1:
        raise EngineError(f"the engine gave {len(results)} results for one clip")
    if isinstance(results[0], Rejection):
        raise EngineError(f"the engine rejects a second of noise: {results[0].message}")
