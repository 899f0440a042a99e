"""The files of a version on this machine: where they are anyway, or in a cache by their digests."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from schemas.model_card import ModelCard
from serve_app.registry.errors import RegistryFaultError
from serve_app.registry.store import Store
from serve_app.system.files import atomic_path, sha256_of


def default_cache() -> Path:
    """The folder for copies of models: below ``XDG_CACHE_HOME``, or ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "chorus-asr" / "models"


def local_folder(store: Store, card: ModelCard, cache: Path | None = None) -> Path:
    """The folder of a version on this machine; blocks while it is copied, if it must be.

    A copy is checked against the card before it appears in the cache. What is read where it is has
    to be checked when it is loaded.

    Args:
        store: that has the version.
        card: of the version.
        cache: for copies. If None, what a store has on this machine is read where it is, and copies
            of the rest are in `default_cache`.

    Raises:
        RegistryFaultError: the copy is not what the card says.
        OSError: the store cannot be read, or the cache cannot be written.
    """
    path = store.path(_folder(card))
    if cache is None and path is not None:
        return path
    target = cached_folder(card, cache or default_cache())
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if not target.is_dir():
            with atomic_path(target) as temporary:
                _fetch(store, card, temporary)
                if found := file_faults(temporary, card):
                    raise RegistryFaultError(f"{card.name}:{card.version}: {found[0]}")
    except OSError:
        if not target.is_dir():  # else another process was faster
            raise
    return target


def cached_folder(card: ModelCard, cache: Path) -> Path:
    """The folder of a version's copy in a cache, whether it is there or not."""
    return cache / card.name / f"{card.version}-{card.sha256[:16]}"


def version_faults(store: Store, card: ModelCard) -> list[str]:
    """What is wrong with the files of a version, one sentence each. Reads all of them.

    Raises:
        OSError: the store cannot be read.
    """
    path = store.path(_folder(card))
    if path is not None:
        return file_faults(path, card)
    with tempfile.TemporaryDirectory(prefix="chorus-model-") as temporary:
        try:
            _fetch(store, card, Path(temporary))
        except FileNotFoundError as error:
            return [str(error)]
        return file_faults(Path(temporary), card)


def file_faults(folder: Path, card: ModelCard) -> list[str]:
    """What is wrong with the files in a folder, compared with a card. Reads all of them."""
    found = []
    for path, facts in card.files.items():
        file = folder / path
        if not file.is_file():
            found.append(f"{path} is missing")
        elif (size := file.stat().st_size) != facts.bytes:
            found.append(f"{path} has {size} bytes, not {facts.bytes}")
        elif sha256_of(file) != facts.sha256:
            found.append(f"{path} has another content than when it was registered")
    return found


def _fetch(store: Store, card: ModelCard, folder: Path) -> None:
    for path in card.files:
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        store.fetch(f"{_folder(card)}/{path}", file)


def _folder(card: ModelCard) -> str:
    return f"{card.name}/{card.version}"
