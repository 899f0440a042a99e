"""Garbage collection: remove versions that nothing has named for a time, and unfinished ones."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from schemas.model_card import CARD_FILE
from serve_app.registry import aliases
from serve_app.registry.holds import is_held
from serve_app.registry.provenance import now
from serve_app.registry.registry import ALIASES, CLAIM, REMOVED, RESERVED, Registry
from serve_app.registry.store import Store


class Garbage(msgspec.Struct, frozen=True, kw_only=True):
    """A version that may be removed.

    Attributes:
        name: of the model.
        version: its number.
        unfinished: whether it was never completed.
        bytes: that its card says it takes; 0 for an unfinished one.
    """

    name: str
    version: int
    unfinished: bool
    bytes: int


def find_garbage(
    registry: Registry, unused: timedelta, in_use: Collection[str] = (), *, tidy: bool = False
) -> list[Garbage]:
    """The versions that may be removed. Lists the store once.

    Kept is what an alias names or has named within the time, what was registered within it, what is
    held (`serve_app.registry.holds`), and the last version of each model. Unfinished versions are
    those whose number was reserved before.

    Args:
        registry: where to look.
        unused: the time.
        in_use: SHA-256 digests of the models that replicas run.
        tidy: whether holds of the dead are removed.
    """
    store, since = registry.store, datetime.now(UTC) - unused
    keys = store.keys("")
    found = []
    for name, versions in sorted(_versions(keys).items()):
        kept = _named(store, name, versions, keys, since)
        for version, files in sorted(versions.items()):
            folder, finished = f"{name}/{version}", CARD_FILE in files
            if CLAIM not in files or not files - {CLAIM, REMOVED}:
                continue
            held = is_held(store, [f"{folder}/{file}" for file in files], tidy=tidy)
            if held or version in kept or _time(store, folder) >= since:
                continue
            card = registry.card(name, version) if finished else None
            if card is None or card.sha256 not in in_use:
                size = 0 if card is None else card.all_bytes
                found.append(
                    Garbage(name=name, version=version, unfinished=not finished, bytes=size)
                )
    return found


def collect(
    registry: Registry, unused: timedelta, in_use: Collection[str] = ()
) -> Iterator[Garbage]:
    """Remove what `find_garbage` finds, and finish or undo what an interrupted call began.

    Yields:
        What was removed.
    """
    for each in [*find_garbage(registry, unused, in_use, tidy=True), *_begun(registry)]:
        if _remove(registry.store, each, unused):
            yield each


def _begun(registry: Registry) -> Iterator[Garbage]:
    """The versions that are there, but marked as being removed."""
    for name, versions in sorted(_versions(registry.store.keys("")).items()):
        for version, files in sorted(versions.items()):
            if REMOVED in files and CARD_FILE in files:
                yield Garbage(name=name, version=version, unfinished=False, bytes=0)


def _remove(store: Store, garbage: Garbage, unused: timedelta) -> bool:
    """Remove a version; its number stays taken.

    A version that an alias has come to name in the meantime is left, as is one that somebody
    finishes or promotes.
    """
    name, version = garbage.name, garbage.version
    folder = f"{name}/{version}"
    # from here on nobody can promote or finish it
    with contextlib.suppress(FileExistsError):  # of another process, which may have been killed
        mark = msgspec.json.encode({"at": now()})
        store.create(f"{folder}/{REMOVED}", mark, new_folder=False)
    since = datetime.now(UTC) - unused
    keys = [*store.keys(name), *store.keys(f"{ALIASES}/{name}")]
    versions = _versions(keys)[name]
    finished = CARD_FILE in versions[version]
    wanted = finished and (
        garbage.unfinished
        or version in _named(store, name, versions, keys, since)
        or _time(store, folder) >= since
    )
    own = [f"{folder}/{file}" for file in versions[version]]
    if wanted or is_held(store, own, tidy=True):
        store.remove(f"{folder}/{REMOVED}")
        return False
    store.remove(f"{folder}/{CARD_FILE}")  # first: without it the version is not there
    for file in versions[version] - {CLAIM, REMOVED}:
        store.remove(f"{folder}/{file}")
    return True


def _versions(keys: Iterable[str]) -> dict[str, dict[int, set[str]]]:
    """The files of each version of each model, by their path in its folder, in a listing."""
    found: dict[str, dict[int, set[str]]] = {}
    for key in keys:
        name, _, rest = key.partition("/")
        version, _, file = rest.partition("/")
        if name not in RESERVED and version.isdecimal() and file:
            found.setdefault(name, {}).setdefault(int(version), set()).add(file)
    return found


def _named(
    store: Store,
    name: str,
    versions: Mapping[int, Collection[str]],
    keys: Collection[str],
    since: datetime,
) -> set[int]:
    """The versions of a model that an alias named at some time since, and the last one."""
    found = {max((each for each, files in versions.items() if CARD_FILE in files), default=0)}
    for history in aliases.histories(store, name, keys).values():
        moves = [each.move for each in history]
        for move, following in zip(moves, [*moves[1:], None], strict=True):
            if following is None or datetime.fromisoformat(following.at) >= since:
                found.add(int(move.version))
    return found


def _time(store: Store, folder: str) -> datetime:
    """When the number of a version was reserved."""
    claim = msgspec.json.decode(store.read(f"{folder}/{CLAIM}"), type=dict[str, str])
    return datetime.fromisoformat(claim["at"])
