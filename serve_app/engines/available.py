"""Whether the engines and the pretrained models that settings name exist; no model is loaded.

Importing this module is cheap.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from schemas.decoding import nearest
from serve_app.engines.errors import EngineError
from serve_app.engines.nemo.options import options_of
from serve_app.engines.nemo.pretrained import pretrained_fault
from serve_app.system.logs import location_of

if TYPE_CHECKING:
    from schemas.settings import ModelSettings, Settings
    from serve_app.engines.base import Engine

#: The path of a key of the settings, and what is wrong with its value.
Fault = tuple[str, str]

_PROTOCOL = "see serve_app.engines.base.Engine"


class _BuiltIn(NamedTuple):
    """An engine that is part of Chorus.

    Attributes:
        where: its class.
        examines: a function that checks, at a glance, the model file or folder at a path.
        extra: what it needs of the package's extras.
        checks_options: whether its class can `check` settings without the model's files; importing
            the others takes seconds, and their options depend on the model.
        identifies: whether it has models that identify languages.
    """

    where: str
    examines: str
    extra: str
    checks_options: bool = False
    identifies: bool = False


_ENGINES = {
    "nemo": _BuiltIn(
        "serve_app.engines.nemo.engine:NemoEngine",
        "serve_app.engines.nemo.examination:examine",
        "serve",
    ),
    "transformers": _BuiltIn(
        "serve_app.engines.transformers.engine:TransformersEngine",
        "serve_app.engines.transformers.folder:check_folder",
        "serve",
        identifies=True,
    ),
    "faster-whisper": _BuiltIn(
        "serve_app.engines.faster_whisper.engine:FasterWhisperEngine",
        "serve_app.engines.faster_whisper.folder:model_files",
        "faster-whisper",
        checks_options=True,
        identifies=True,
    ),
}


def engine_class(name: str) -> Callable[[ModelSettings], Engine]:
    """Import an engine. Blocks while its module is imported.

    Args:
        name: ``package.module:Class``, or of one that is built in.

    Raises:
        EngineError: there is no such module or class, importing it fails, or it cannot transcribe.
    """
    built_in = _ENGINES.get(name)
    module_name, _, class_name = (built_in.where if built_in else name).partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        if built_in and isinstance(error, ModuleNotFoundError):
            raise EngineError(
                f"engine {name!r} needs the package {error.name}, which is not installed: "
                f"pip install 'chorus-asr[{built_in.extra}]'"
            ) from error
        raise EngineError(f"engine {name!r}: {_not_imported(module_name, error)}") from error
    found: Any = getattr(module, class_name, None)
    if not callable(found):
        classes = [key for key, value in vars(module).items() if isinstance(value, type)]
        raise EngineError(
            f"engine {name!r}: {module_name} has no class `{class_name}`; "
            f"{nearest(class_name, classes)}"
        )
    if isinstance(found, type):
        check_transcribe(name, getattr(found, "transcribe", None), itself=1)
    return found  # type: ignore[no-any-return]  # what it makes is checked when it is loaded


def check_transcribe(name: str, method: Any, *, itself: int = 0) -> None:
    """Check that an engine's `transcribe` can be called as the protocol says.

    Args:
        name: of the engine in the settings.
        method: its `transcribe`.
        itself: 1 if the method is that of a class, so that its first parameter is the engine.

    Raises:
        EngineError: it cannot.
    """
    if not callable(method):
        raise EngineError(f"engine {name!r}: has no `transcribe` ({_PROTOCOL})")
    try:
        inspect.signature(method).bind(*[None] * (2 + itself))
    except TypeError:
        raise EngineError(
            f"engine {name!r}: `transcribe` takes no requests ({_PROTOCOL})"
        ) from None
    except ValueError:  # a method that is not written in Python may not say what it takes
        return


def can_identify(engine: object) -> bool:
    """Whether an engine, or a class of engines, has a method that identifies languages."""
    return callable(getattr(engine, "identify_languages", None))


def engine_faults(models: Mapping[str, ModelSettings]) -> Iterator[Fault]:
    """The engines that cannot be imported, and wrong options of those that are built in.

    Blocks while they are imported; those that take seconds are not. Which of the options of "nemo"
    a model has is known only when it is loaded.
    """
    for name, model in models.items():
        built_in = _ENGINES.get(model.engine)
        key = "options"
        try:
            if model.engine == "nemo":
                options_of(model)
            if built_in and not built_in.checks_options:
                continue
            key = "engine"
            found = engine_class(model.engine)
            key = "options"
            if built_in:
                found.check(model)  # type: ignore[attr-defined]  # each of them has it
        except EngineError as error:
            yield f"models.{name}.{key}", str(error)


def language_faults(settings: Settings) -> Iterator[Fault]:
    """The engine of `routing.language_model` if it identifies no languages. Blocks.

    That of a class that is built in may have models of one language; they are refused when they
    are loaded.
    """
    name = settings.routing.language_model
    if name is None:
        return
    engine = settings.models[name].engine
    built_in = _ENGINES.get(engine)
    if built_in is None:
        try:
            found = engine_class(engine)
        except EngineError:
            return  # see `engine_faults`
        identifies = can_identify(found) or not isinstance(found, type)
    else:
        identifies = built_in.identifies
    if not identifies:
        known = ", ".join(each for each, built in _ENGINES.items() if built.identifies)
        yield (
            "routing.language_model",
            f"the engine of `{name}`, {engine}, identifies no languages; name a Whisper model of "
            f"several languages ({known}), or an engine of your own with `identify_languages`",
        )


def file_faults(models: Mapping[str, ModelSettings]) -> Iterator[Fault]:
    """The model files and folders at `path` that cannot be served, as far as a glance shows it."""
    for name, model in models.items():
        built_in = _ENGINES.get(model.engine)
        if built_in is None or model.path is None:
            continue
        module, _, function = built_in.examines.partition(":")
        try:
            getattr(importlib.import_module(module), function)(Path(model.path))
        except EngineError as error:
            yield f"models.{name}.path", str(error)
        except OSError as error:
            yield f"models.{name}.path", f"{model.path}: cannot be read: {error.strerror}"


def pretrained_faults(models: Mapping[str, ModelSettings]) -> Iterator[Fault]:
    """The names of pretrained models that cannot be. Blocks for seconds if there are any.

    Raises:
        ModuleNotFoundError: NeMo, which knows the names, is not installed.
    """
    for name, model in models.items():
        if model.engine == "nemo" and model.pretrained is not None:
            reason = pretrained_fault(model.pretrained)
            if reason is not None:
                yield f"models.{name}.pretrained", reason


def _not_imported(module: str, error: Exception) -> str:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing is not None and f"{module}.".startswith(f"{missing}."):
        return (
            f"there is no module {missing}; put it on the Python path (PYTHONPATH), or into the "
            "folder that the command is run in"
        )
    return f"importing {module} fails: {error} ({location_of(error)})"
