"""Which version of a model its settings name, and where its files are."""

from __future__ import annotations

import socket
from pathlib import Path

import msgspec

from schemas.model_card import MODEL_FILE, ModelCard
from schemas.model_reference import parse_reference
from schemas.settings import FOLDER_ENGINES, ModelSettings, RegistrySettings, Settings
from serve_app.registry import aliases
from serve_app.registry.errors import RegistryFaultError, UnknownModelError
from serve_app.registry.holds import Lease
from serve_app.registry.local_copy import (
    cached_folder,
    default_cache,
    file_faults,
    local_folder,
)
from serve_app.registry.registry import BY_MOVE, Registry
from serve_app.registry.served import recall, remember
from serve_app.registry.store import open_store
from serve_app.registry.versions import version_number


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A version that can be loaded.

    Attributes:
        place: where it is named: two places that name the same number differ, if the alias has
            been moved in between.
        settings: of the model, with `path` and `sha256` of this version.
        number: of the version; empty for a model outside of a registry.
        card: of the version; None for a model outside of a registry.
    """

    place: str
    settings: ModelSettings
    number: str
    card: ModelCard | None = None

    @property
    def bytes(self) -> int:
        """Size of its files; 0 if unknown."""
        return 0 if self.card is None else self.card.all_bytes


def fixed_version(model: ModelSettings) -> str | None:
    """The number of the version that a model always serves; None where it has none, or may change.

    That of the folder in its path, or of the reference.
    """
    if model.model is not None:
        reference = parse_reference(model.model)
        return None if reference.moves else reference.version
    if model.path is None:
        return None
    path = Path(model.path)
    number = version_number(path if model.engine in FOLDER_ENGINES else path.parent)
    return None if number is None else str(number)


class VersionSource:
    """Finds the version that the settings of a model name now. Its methods block.

    Args:
        settings: of the model.
        registry: where a `model` is found.

    Attributes:
        registered: whether the settings name a `model`.
        moves: whether that may name another version later.
    """

    def __init__(self, settings: ModelSettings, registry: RegistrySettings | None) -> None:
        self._settings = settings
        self._reference = parse_reference(settings.model) if settings.model else None
        self._settings_of_registry = registry or RegistrySettings()
        cache = self._settings_of_registry.cache
        self._cache = Path(cache) if cache else None
        self.registered = self._reference is not None
        self.moves = self._reference is not None and self._reference.moves

    def __str__(self) -> str:
        return self._settings.source

    def place(self) -> str:
        """What the reference names now; it changes whenever an alias is moved.

        Raises:
            UnknownModelError: it names nothing.
            RegistryFaultError: a card cannot be read.
            OSError: the registry cannot be read.
        """
        if self._reference is None:
            return ""
        if not self.moves:
            return self.card().version
        return self._registry().named(self._reference).place

    def card(self) -> ModelCard:
        """The card of the version that a `model` names now.

        Raises:
            UnknownModelError: it names nothing.
            RegistryFaultError: its card cannot be read.
            OSError: the registry cannot be read.
        """
        if self._reference is None:
            raise ValueError(f"{self} is not the name of a registered model")
        return self._registry().resolve(self._reference)

    def find(self) -> Version:
        """The version that is named now; its files are copied to this machine if they must be.

        Raises:
            UnknownModelError: it names nothing.
            RegistryFaultError: the version is damaged, or of another engine.
            OSError: the registry cannot be read, or the copy cannot be written.
        """
        settings = self._settings
        if self._reference is None:
            number = fixed_version(settings) or ""
            return Version(number=number, place="", settings=settings)
        registry = self._registry()
        named = registry.named(self._reference)
        card = registry.card(self._reference.name, named.version)
        self._check_engine(card)
        return self._version(named.place, card, local_folder(registry.store, card, self._cache))

    def remember(self, version: Version) -> None:
        """Note that a version serves, for `served_last`.

        Raises:
            OSError: the note cannot be written.
        """
        card = version.card
        if self._reference is None or card is None:
            return
        store = self._registry().store
        if self._cache is None and store.path("") is not None:
            return  # there is no copy to start from
        cache = self._cache or default_cache()
        remember(cache, store.url, self._reference, version.place, card)

    def served_last(self, error: Exception) -> Version | None:
        """The version that was served last on this machine, from its copy.

        Args:
            error: that `find` raised.

        Returns:
            None where the registry is not out of reach, where nothing was served from it by what
            the settings name, or where that has no copy.

        Raises:
            RegistryFaultError: the copy is damaged, or of another engine.
        """
        if self._reference is None:
            return None
        registry, cache = self._registry(), self._cache or default_cache()
        served = recall(cache, registry.store.url, self._reference)
        if served is None or not _is_out_of_reach(registry, error):
            return None
        folder = cached_folder(served.card, cache)
        if not folder.is_dir():
            return None
        self._check_engine(served.card)
        return self._version(served.place, served.card, folder)

    def _check_engine(self, card: ModelCard) -> None:
        if card.engine != self._settings.engine:
            raise RegistryFaultError(
                f"{card.name}:{card.version} is a model of the engine {card.engine}, not of "
                f"{self._settings.engine}"
            )

    def _version(self, place: str, card: ModelCard, folder: Path) -> Version:
        nemo = MODEL_FILE in card.files
        if not nemo and (found := file_faults(folder, card)):
            raise RegistryFaultError(f"{card.name}:{card.version}: {found[0]}")
        settings = msgspec.structs.replace(
            self._settings,
            model=None,
            path=str(folder / MODEL_FILE if nemo else folder),
            sha256=card.sha256 if nemo else None,  # checked while it is unpacked
        )
        return Version(number=card.version, place=place, card=card, settings=settings)

    def refuse(self, place: str, why: str) -> None:
        """Note in the history of the alias that the version at `place` cannot be served.

        Raises:
            OSError: the registry cannot be written.
        """
        _, moved, number = place.rpartition(BY_MOVE)
        if self._reference is not None and moved:
            name, alias = self._reference.name, str(self._reference.alias)
            aliases.refuse(
                self._registry().store, name, alias, int(number), why=why, by=socket.gethostname()
            )

    def lease(self, version: Version) -> Lease | None:
        """A lease on a version of the registry, which is to be renewed while it is served."""
        if self._reference is None:
            return None
        return Lease(self._registry().store, f"{self._reference.name}/{version.number}")

    def _registry(self) -> Registry:
        return Registry(open_store(self._settings_of_registry.url))


def _is_out_of_reach(registry: Registry, error: Exception) -> bool:
    """Whether the registry cannot be asked; one without a file is a file system that is not there.

    A registry that anything was served from is never empty: numbers stay reserved.
    """
    if isinstance(error, OSError):
        return True
    try:
        return isinstance(error, UnknownModelError) and not registry.store.keys("")
    except OSError:
        return True


def pinned(settings: Settings) -> Settings:
    """The settings with each registered model as the file of the version that it names now.

    Raises:
        ValueError: one names none, or a version that is damaged or for another engine; the message
            says which.
        OSError: the registry cannot be read, or a copy cannot be written.
    """
    if not any(model.model for model in settings.models.values()):
        return settings
    models = dict(settings.models)
    for name, model in models.items():
        if model.model is not None:
            try:
                models[name] = VersionSource(model, settings.registry).find().settings
            except (UnknownModelError, RegistryFaultError) as error:
                raise ValueError(f"models.{name}.model: {error}") from error
    return msgspec.structs.replace(settings, models=models)
