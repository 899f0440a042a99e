"""Garbage collection: remove versions that nothing has named for a time, and unfinished ones."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta

import msgspec

from schemas.model_card import CARD_FILE
from serve_app.registry import aliases
from serve_app.registry.holds import is_held
from serve_app.registry.provenance import now
from serve_app.registry.registry import CLAIM, REMOVED, Registry


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
    registry: Registry, unused: timedelta, in_use: Collection[str] = ()
) -> list[Garbage]:
    """The versions that may be removed.

    Kept is what an alias names or has named within the time, what was registered within it, what is
    held (`serve_app.registry.holds`), and the last version of each model. Unfinished versions are
    those whose number was reserved before.

    Args:
        registry: where to look.
        unused: the time.
        in_use: SHA-256 digests of the models that replicas run.
    """
    keys = registry.store.keys("")
    numbers = {tuple(key.split("/")[:2]) for key in keys if key.endswith(f"/{CLAIM}")}
    since = datetime.now(UTC) - unused
    found = []
    for name, version in sorted((name, int(number)) for name, number in numbers):
        folder = f"{name}/{version}"
        files = {key for key in keys if key.startswith(f"{folder}/")}
        rest = files - {f"{folder}/{CLAIM}", f"{folder}/{REMOVED}"}
        if is_held(registry.store, files):
            continue
        if f"{folder}/{CARD_FILE}" in files:
            card = registry.card(name, version)
            if not _is_kept(registry, name, version, since) and card.sha256 not in in_use:
                found.append(
                    Garbage(name=name, version=version, unfinished=False, bytes=card.bytes)
                )
        elif rest and _time(registry, folder) < since:
            found.append(Garbage(name=name, version=version, unfinished=True, bytes=0))
    return found


def collect(
    registry: Registry, unused: timedelta, in_use: Collection[str] = ()
) -> Iterator[Garbage]:
    """Remove what `find_garbage` finds, and finish or undo what an interrupted call began.

    Yields:
        What was removed.
    """
    for each in [*find_garbage(registry, unused, in_use), *_begun(registry)]:
        if _remove(registry, each, unused):
            yield each


def _begun(registry: Registry) -> Iterator[Garbage]:
    """The versions that are there, but marked as being removed."""
    keys = set(registry.store.keys(""))
    for key in sorted(keys):
        folder, _, file = key.rpartition("/")
        if file == REMOVED and f"{folder}/{CARD_FILE}" in keys:
            name, _, version = folder.partition("/")
            yield Garbage(name=name, version=int(version), unfinished=False, bytes=0)


def _remove(registry: Registry, garbage: Garbage, unused: timedelta) -> bool:
    """Remove a version; its number stays taken.

    A version that an alias has come to name in the meantime is left, as is one that somebody
    finishes or promotes.
    """
    folder, store = f"{garbage.name}/{garbage.version}", registry.store
    # from here on nobody can promote or finish it
    with contextlib.suppress(FileExistsError):  # of another process, which may have been killed
        store.create(f"{folder}/{REMOVED}", msgspec.json.encode({"at": now()}))
    since = datetime.now(UTC) - unused
    keys = store.keys(folder)
    finished = f"{folder}/{CARD_FILE}" in keys
    wanted = finished and (
        garbage.unfinished or _is_kept(registry, garbage.name, garbage.version, since)
    )
    if wanted or is_held(store, keys):
        store.remove(f"{folder}/{REMOVED}")
        return False
    store.remove(f"{folder}/{CARD_FILE}")  # first: without it the version is not there
    for key in keys:
        if key.rpartition("/")[2] not in (CLAIM, REMOVED):
            store.remove(key)
    return True


def _is_kept(registry: Registry, name: str, version: int, since: datetime) -> bool:
    if version == max(registry.versions(name), default=0):
        return True
    if _time(registry, f"{name}/{version}") >= since:
        return True
    return any(number == str(version) for number in _named_since(registry, name, since))


def _named_since(registry: Registry, name: str, since: datetime) -> Iterator[str]:
    """The versions that an alias of a model named at some time since."""
    for alias in aliases.names(registry.store, name):
        moves = [each.move for each in aliases.history(registry.store, name, alias)]
        for move, following in zip(moves, [*moves[1:], None], strict=True):
            if following is None or datetime.fromisoformat(following.at) >= since:
                yield move.version


def _time(registry: Registry, folder: str) -> datetime:
    """When the number of a version was reserved."""
    claim = msgspec.json.decode(registry.store.read(f"{folder}/{CLAIM}"), type=dict[str, str])
    return datetime.fromisoformat(claim["at"])
