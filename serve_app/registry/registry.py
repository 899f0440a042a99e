"""The registry: immutable versions of models, found by name and number.

Layout of a store::

    NAME/N/claim.json      reserves the number N; stays, so that no number is used twice
    NAME/N/...             the files of the version
    NAME/N/model.json      its card, written last: the version is there when this file is
    NAME/N/removed.json    it is being removed, or has been
    NAME/N/hold-*.json     somebody finishes or promotes it, see `serve_app.registry.holds`
    aliases/NAME/ALIAS/000017.json    see `serve_app.registry.aliases`
    rollouts/...           what is known of rollouts
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import msgspec

from schemas.decoding import nearest
from schemas.model_card import CARD_FILE, MODEL_FILE, FileFacts, ModelCard
from schemas.model_reference import LATEST, NEWEST, ModelReference, parse_reference
from serve_app.registry import aliases
from serve_app.registry.aliases import Moved
from serve_app.registry.errors import RegistryFaultError, UnknownModelError
from serve_app.registry.holds import hold, is_hold
from serve_app.registry.provenance import now, user
from serve_app.registry.store import Store, exists
from serve_app.system.files import sha256_of, sha256_of_list

#: Folder of the aliases.
ALIASES = "aliases"
#: Folder of what is known of rollouts.
ROLLOUTS = "rollouts"
#: What no model can be called.
RESERVED = (ALIASES, ROLLOUTS)
#: Between the version and the number of the move, in the place of an alias.
BY_MOVE = " by move "
CLAIM = "claim.json"
REMOVED = "removed.json"


class Named(msgspec.Struct, frozen=True):
    """What a reference names at a moment.

    Attributes:
        version: its number.
        place: where it is named, as text that changes whenever an alias is moved.
    """

    version: str
    place: str


class Registry:
    """The versions of models in a store. Its methods block.

    All of them raise `OSError` where the store cannot be reached.

    Args:
        store: holds them.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    def names(self) -> list[str]:
        """The models that have a version, in order."""
        return sorted({key.split("/")[0] for key in self.store.keys("") if _is_card(key)})

    def versions(self, name: str) -> list[int]:
        """The numbers of the versions of a model, the oldest first; empty for an unknown one."""
        return sorted(int(key.split("/")[1]) for key in self.store.keys(name) if _is_card(key))

    def card(self, name: str, version: int | str) -> ModelCard:
        """The card of a version.

        Raises:
            UnknownModelError: there is no such version.
            RegistryFaultError: its card cannot be read.
        """
        try:
            data = self.store.read(f"{name}/{version}/{CARD_FILE}")
        except FileNotFoundError:
            raise self._unknown(name, str(version)) from None
        try:
            return msgspec.json.decode(data, type=ModelCard)
        except msgspec.DecodeError as error:
            raise RegistryFaultError(f"{self.store.url}: {name}:{version}: {error}") from error

    def resolve(self, reference: ModelReference) -> ModelCard:
        """The card of the version that `reference` names now.

        Raises:
            UnknownModelError: it names none.
            RegistryFaultError: its card cannot be read.
        """
        return self.card(reference.name, self.named(reference).version)

    def named(self, reference: ModelReference) -> Named:
        """What `reference` names now. Whether there is a version of that number is not looked at.

        Raises:
            UnknownModelError: it names nothing.
            RegistryFaultError: a card that has to be compared cannot be read.
        """
        name, version = reference.name, reference.version
        if version is None:
            alias = str(reference.alias)
            moved = aliases.last(self.store, name, alias)
            if moved is None:
                raise self._unknown_alias(name, alias)
            return Named(moved.move.version, f"{moved.move.version}{BY_MOVE}{moved.number}")
        if version in (LATEST, NEWEST):
            there = self.versions(name)
            if not there:
                raise self._unknown(name, version)
            number = there[-1]
            if version == NEWEST:
                number = max(there, key=lambda each: (self.card(name, each).made, each))
            version = str(number)
        return Named(version, version)

    def register(
        self,
        name: str,
        files: Mapping[str, Path],
        card: ModelCard,
        *,
        by: str | None = None,
        move: bool = False,
    ) -> ModelCard:
        """Store files as the next version of a model.

        Args:
            name: of the model.
            files: paths in the version's folder, with ``/`` between their parts, and the files.
            card: of the version; its name, version, digests and registration are set here.
            by: who registers it; the user of this process by default.
            move: whether the files may be moved instead of copied.

        Returns:
            The card as stored: a new one, or, if a version has the same files, that one's.

        Raises:
            RegistryFaultError: there is no file, a path leads elsewhere, or the number was taken
                back because the files took too long to arrive.
            ValueError: no model can be called so.
        """
        parse_reference(name)
        _check_paths(name, files)
        facts = {
            path: FileFacts(file.stat().st_size, sha256_of(file))
            for path, file in sorted(files.items())
        }
        if (same := self._with_files(name, facts)) is not None:
            return same
        by = by or user()
        version = _claim(self.store, name, by)
        folder = f"{name}/{version}"
        for path, file in files.items():
            self.store.add(f"{folder}/{path}", file, move=move)
        card = msgspec.structs.replace(
            card,
            name=name,
            version=str(version),
            files=facts,
            bytes=model_facts(facts).bytes,
            sha256=model_facts(facts).sha256,
            registered_by=by,
            registered=now(),
        )
        with hold(self.store, folder):
            if not self._is_removed(name, version):
                self.store.create(f"{folder}/{CARD_FILE}", pretty(card))
                return card
        raise RegistryFaultError(
            f"{name}:{version} was removed as unfinished while its files were being stored; "
            "register it again"
        )

    def promote(
        self,
        name: str,
        version: int | str,
        alias: str,
        *,
        why: str = "",
        by: str | None = None,
        over: str | None = None,
    ) -> Moved:
        """Let an alias name a version from now on.

        One that it names already is left as it is, with its history, so that a later rollback leads
        to another version.

        Args:
            name: of the model.
            version: of it.
            alias: of it.
            why: the reason, for the history.
            by: who does it; the user of this process by default.
            over: the version that the alias must name until then; None for any.

        Returns:
            The move, which is an old one if nothing had to be moved.

        Raises:
            UnknownModelError: there is no such version.
            ConflictError: the alias names another version than `over`.
            ValueError: no alias can be called so.
        """
        parse_reference(f"{name}@{alias}")
        with self._held(name, version):
            last = aliases.last(self.store, name, alias)
            if last is not None and last.move.version == str(version):
                return last
            by = by or user()
            return aliases.promote(
                self.store, name, alias, str(version), last=last, why=why, by=by, over=over
            )

    def rollback(self, name: str, alias: str, *, why: str = "", by: str | None = None) -> Moved:
        """Take the last move of an alias back.

        Raises:
            UnknownModelError: the alias does not exist, it has named no version before, or that
                one has been removed.
            ConflictError: somebody else moved it at the same moment.
        """
        if aliases.last(self.store, name, alias) is None:
            raise self._unknown_alias(name, alias)
        to = aliases.before(self.store, name, alias)
        with self._held(name, to.move.version):
            return aliases.rollback(self.store, name, alias, to, why=why, by=by or user())

    def aliases(self, name: str) -> dict[str, str]:
        """The version that each alias of a model names."""
        moved = aliases.all_last(self.store, name)
        return {alias: each.move.version for alias, each in moved.items()}

    def history(self, name: str, alias: str) -> list[Moved]:
        """The moves of an alias, the first one first.

        Raises:
            UnknownModelError: there is no such alias.
        """
        found = aliases.history(self.store, name, alias)
        if not found:
            raise self._unknown_alias(name, alias)
        return found

    @contextlib.contextmanager
    def _held(self, name: str, version: int | str) -> Iterator[None]:
        """Keep a version from being removed for the block.

        Raises:
            UnknownModelError: there is no such version, or it is being removed.
        """
        self.card(name, version)
        with hold(self.store, f"{name}/{version}"):
            if self._is_removed(name, version):
                raise UnknownModelError(f"{name}:{version} is being removed")
            yield

    def _with_files(self, name: str, files: Mapping[str, FileFacts]) -> ModelCard | None:
        """The newest version that consists of exactly these files."""
        for version in reversed(self.versions(name)):
            card = self.card(name, version)
            if card.files == files and not self._is_removed(name, version):
                return card
        return None

    def _is_removed(self, name: str, version: int | str) -> bool:
        return exists(self.store, f"{name}/{version}/{REMOVED}")

    def _unknown(self, name: str, version: str) -> UnknownModelError:
        versions = self.versions(name)
        if versions:
            there = ", ".join(map(str, versions))
            return UnknownModelError(f"{name} has no version {version}; it has {there}")
        return UnknownModelError(
            f"{self.store.url} has no model `{name}`; {nearest(name, self.names())}"
        )

    def _unknown_alias(self, name: str, alias: str) -> UnknownModelError:
        versions = self.versions(name)
        if not versions:
            return self._unknown(name, "")
        known = self.aliases(name)
        has = f"its aliases are {', '.join(known)}" if known else "it has none"
        return UnknownModelError(
            f"{name} has no alias `{alias}`; {has}; `chorus models promote {name}:{versions[-1]} "
            f"--alias {alias}` sets it"
        )


def _claim(store: Store, name: str, by: str) -> int:
    """Reserve the next number of a model."""
    taken = [key.split("/")[1] for key in store.keys(name)]
    number = max((int(each) for each in taken if each.isdecimal()), default=0)
    while True:
        number += 1
        try:
            content = msgspec.json.encode({"by": by, "at": now()})
            store.create(f"{name}/{number}/{CLAIM}", content)
        except FileExistsError:
            continue
        return number


def model_facts(files: Mapping[str, FileFacts]) -> FileFacts:
    """Size and digest of a model: of its file; of several, their sum and that of their list."""
    if MODEL_FILE in files:
        return files[MODEL_FILE]
    if len(files) == 1:
        return next(iter(files.values()))
    size = sum(each.bytes for each in files.values())
    return FileFacts(size, sha256_of_list({path: each.sha256 for path, each in files.items()}))


def pretty(value: msgspec.Struct) -> bytes:
    """JSON for files that people read."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def _is_card(key: str) -> bool:
    parts = key.split("/")
    return len(parts) == 3 and parts[1].isdecimal() and parts[2] == CARD_FILE


def _check_paths(name: str, files: Mapping[str, Path]) -> None:
    if name in RESERVED:
        raise RegistryFaultError(f"a model cannot be called `{name}`")
    if not files:
        raise RegistryFaultError("there is no file to register")
    for path in files:
        parts = PurePosixPath(path).parts
        if not parts or PurePosixPath(path).is_absolute() or ".." in parts or "\\" in path:
            raise RegistryFaultError(f"{path}: not a path inside of a version's folder")
        if len(parts) == 1 and (parts[0] in (CARD_FILE, CLAIM, REMOVED) or is_hold(path)):
            raise RegistryFaultError(f"{path}: a name that the registry itself uses")
