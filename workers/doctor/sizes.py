"""The sizes of the model files that the settings name."""

from __future__ import annotations

from pathlib import Path

from schemas.settings import FOLDER_ENGINES, ModelSettings, Settings
from schemas.settings.models import model_file
from serve_app.registry.errors import RegistryFaultError, UnknownModelError
from serve_app.registry.source import VersionSource


def model_sizes(settings: Settings) -> dict[str, int | None]:
    """Bytes of each model's files; None where that is not known without fetching it."""
    return {name: _size(model, settings) for name, model in settings.models.items()}


def _size(model: ModelSettings, settings: Settings) -> int | None:
    try:
        if model.model is not None:
            return VersionSource(model, settings.registry).card().all_bytes
        if model.path is not None:
            path = Path(model.path)
            return _bytes(path if model.engine in FOLDER_ENGINES else model_file(path))
    except (UnknownModelError, RegistryFaultError, OSError, ValueError):
        return None  # what is wrong with it, another examination tells
    return None


def _bytes(path: Path) -> int:
    """Size of a model's file, or of the files of its folder."""
    files = [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path]
    return sum(each.stat().st_size for each in files)
