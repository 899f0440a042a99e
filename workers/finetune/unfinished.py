"""The folder in which a version is trained, ``OUTPUT/NAME/VERSION.unfinished``, until it is one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from schemas.model_card import ModelCard
from serve_app.registry.local_store import LocalStore
from serve_app.registry.registry import Registry
from serve_app.registry.versions import MODEL, UNFINISHED, version_number
from serve_app.system.files import atomic_write


class RunError(ValueError):
    """The folder of a training holds another unfinished one; the message says what to do."""


def unfinished_version(output: Path, name: str) -> Path:
    """The folder in which the next version of `name` is trained; it exists if that has begun."""
    folder = output / name
    for begun in sorted(folder.glob(f"*{UNFINISHED}")):
        return begun
    numbers = [version_number(path) or 0 for path in folder.glob("*")]
    return folder / f"{max(numbers, default=0) + 1}{UNFINISHED}"


def claim(folder: Path, run: dict[str, Any]) -> None:
    """Record which training `folder` holds, so that no other one resumes from its checkpoint.

    Args:
        folder: created if it does not exist.
        run: what identifies the training, as JSON values.

    Raises:
        RunError: `folder` holds a training with other values.
    """
    file = folder / "run.json"
    if file.exists():
        if json.loads(file.read_text()) != run:
            raise RunError(
                f"{folder} holds an unfinished training with other data or settings; finish it "
                "by its own command, or remove the folder"
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(file, json.dumps(run))


def finish_version(
    unfinished: Path, card: ModelCard, keep: tuple[str, ...] = ()
) -> tuple[ModelCard, Path]:
    """Register the model in `unfinished` as the next version in the folder that it is for.

    Args:
        unfinished: holds the model; it is removed.
        card: of the model; its version and digests are set here.
        keep: other files that the version has, where they exist.

    Returns:
        The card and the folder of the version.
    """
    store = LocalStore(unfinished.parent.parent)
    files = {name: unfinished / name for name in (MODEL, *keep)}
    there = {name: path for name, path in files.items() if path.is_file()}
    card = Registry(store).register(card.name, there, card, move=True)
    shutil.rmtree(unfinished)
    return card, unfinished.with_name(card.version)
