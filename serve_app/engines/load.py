"""Load the engine of a model, and check that an engine works."""

from __future__ import annotations

from schemas.requests import ClipRequest
from schemas.settings import ModelSettings
from schemas.settings.models import BUILT_IN
from serve_app.engines.available import check_transcribe, engine_class
from serve_app.engines.base import Engine, Rejection
from serve_app.engines.batches import is_failure, noise
from serve_app.engines.errors import EngineError, cause_of
from serve_app.engines.results import checked_results, engine_name

#: The request of the check: what an engine does without words it does with them too.
_WITH_WORDS = ClipRequest(words=True)
#: Exact types: these values travel between processes and into JSON.
_ATTRIBUTES = {"sample_rate": int, "sha256": str, "device": str}


def import_engine(settings: ModelSettings) -> None:
    """Import the libraries of an engine, which `load_engine` does too. Blocks for seconds.

    Raises:
        EngineError: there is no such engine, or it is not installed.
    """
    engine_class(settings.engine)
    if settings.engine == "nemo":  # its module defers this until a model is loaded
        from serve_app.engines.nemo.imports import import_nemo

        import_nemo()


def load_engine(settings: ModelSettings) -> Engine:
    """Load the engine of one model. Blocks for seconds.

    Args:
        settings: of the model. `settings.engine` is the name of one that is built in, or
            ``package.module:Class`` of a custom engine; its class is called with `settings`.

    Raises:
        EngineError: the class does not exist, lacks a member of the `Engine` protocol, or cannot
            load its model.
    """
    engine = make_engine(settings)
    if (fault := attribute_fault(engine)) is not None:
        raise EngineError(
            f"engine {settings.engine!r}: {fault} (see serve_app.engines.base.Engine)"
        )
    check_transcribe(settings.engine, getattr(engine, "transcribe", None))
    return engine


def make_engine(settings: ModelSettings) -> Engine:
    """Call the class of an engine; what it makes is not checked. Blocks for seconds.

    Raises:
        EngineError: the class does not exist, or cannot load its model.
        OSError: a file of the model cannot be read, by an engine that is built in.
    """
    make = engine_class(settings.engine)
    try:
        return make(settings)
    except EngineError:
        raise
    except Exception as error:
        if settings.engine in BUILT_IN:
            raise
        raise EngineError(f"engine {settings.engine!r}: {cause_of(error)}") from error


def attribute_fault(engine: object) -> str | None:
    """What is wrong with the attributes of `engine`; None if nothing is."""
    for name, kind in _ATTRIBUTES.items():
        if not hasattr(engine, name):
            return f"has no `{name}`"
        value = getattr(engine, name)
        if type(value) is not kind:
            return f"its `{name}` is of the type {type(value).__name__}, not {kind.__name__}"
    if engine.sample_rate <= 0:  # type: ignore[attr-defined]
        return "its `sample_rate` is not above 0"
    return None


def check_engine(engine: Engine) -> None:
    """Transcribe a second of noise: the health check of any engine. Blocks while the model runs.

    Raises:
        EngineError: the engine raises, rejects the clip, or its result is not what the protocol
            says.
    """
    second = noise(engine.sample_rate)
    try:
        [result] = checked_results(engine.transcribe([second], [_WITH_WORDS]), 1)
    except EngineError:
        raise
    except Exception as error:
        raise EngineError(f"the engine {engine_name(engine)} fails: {cause_of(error)}") from error
    if isinstance(result, Rejection) and is_failure(result):
        raise EngineError(
            f"the engine {engine_name(engine)} rejects a second of noise: {result.message}"
        )
