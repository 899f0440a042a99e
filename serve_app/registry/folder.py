"""Find the models in a folder: model files, and the newest version of each trained model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from schemas.model_card import ModelCard
from schemas.settings import AUTO
from serve_app.registry.versions import (
    CARD,
    MODEL,
    is_unfinished,
    read_card,
    version_number,
)

_SUFFIX = ".nemo"


class FoundModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model in a folder.

    Attributes:
        name: made from the file's or the folder's, fit to be a name in the settings.
        path: the model file, or the folder of a version.
        card: its card; None if it has none that can be read.
    """

    name: str
    path: Path
    card: ModelCard | None


def find_models(folder: Path) -> list[FoundModel]:
    """The models in `folder`, by name, each name once.

    Model files at any depth are found; of the versions that `chorus finetune` made only the newest.

    Raises:
        OSError: the folder cannot be read.
    """
    found: dict[str, FoundModel] = {}
    for path in sorted(_paths(folder)):
        is_version = path.is_dir()
        stem = path.parent.name if is_version or path.name == MODEL else path.stem
        name = unique = settings_name(stem)
        number = 1
        while unique in found or unique == AUTO:
            number += 1
            unique = f"{name}-{number}"
        card = _card(path / CARD if is_version else path.with_suffix(".json"))
        found[unique] = FoundModel(name=unique, path=path, card=card)
    return list(found.values())


def settings_name(text: str) -> str:
    """`text` with what a name in the settings cannot have replaced."""
    name = re.sub(r"[^a-z0-9_.-]+", "-", text.lower()).strip("-_.")
    return name[:60] or "model"


def _paths(folder: Path) -> Iterator[Path]:
    newest: dict[Path, Path] = {}
    for file in folder.rglob(f"*{_SUFFIX}"):
        number = version_number(file.parent)
        if file.name != MODEL or number is None:
            if not is_unfinished(file.parent):
                yield file
            continue
        model = file.parent.parent
        if model not in newest or number > (version_number(newest[model]) or 0):
            newest[model] = file.parent
    yield from newest.values()


def _card(path: Path) -> ModelCard | None:
    try:
        return read_card(path)
    except (OSError, msgspec.DecodeError):
        return None
