"""Aliases: names for versions that change, each with its whole history.

``aliases/NAME/ALIAS/000017.json`` is the 17th move of an alias. A move is a new file, created only
if nobody has created it before; the one with the highest number counts. ``000017.refused.json``
beside it says that a replica could not load what it names.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import msgspec

from schemas.model_card import AliasMove, Refusal
from serve_app.registry.errors import ConflictError, UnknownModelError
from serve_app.registry.provenance import now
from serve_app.registry.store import Store, numbers_in

_FOLDER = "aliases"


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """A move of an alias, with its place in the history.

    Attributes:
        number: of the move, from 1.
        move: what was recorded.
        refused: why what it names did not serve, if a replica said so; only a history has it.
    """

    number: int
    move: AliasMove
    refused: Refusal | None = None


def histories(store: Store, name: str, keys: Iterable[str] | None = None) -> dict[str, list[Moved]]:
    """All moves of each alias of a model, the first one first.

    Args:
        store: that has the aliases.
        name: of the model.
        keys: that the store has, if they have been listed; others may be among them.
    """
    return {
        alias: [_moved(store, name, alias, number) for number in numbers]
        for alias, numbers in _all_numbers(store, name, keys).items()
    }


def history(store: Store, name: str, alias: str) -> list[Moved]:
    """All moves of an alias, the first one first; empty for an unknown one."""
    keys = store.keys(f"{_FOLDER}/{name}/{alias}")
    moves = []
    for number in _all_numbers(store, name, keys).get(alias, []):
        moved = _moved(store, name, alias, number)
        if (key := _refusal_key(name, alias, number)) in keys:
            refused = msgspec.json.decode(store.read(key), type=Refusal)
            moved = msgspec.structs.replace(moved, refused=refused)
        moves.append(moved)
    return moves


def refuse(store: Store, name: str, alias: str, number: int, *, why: str, by: str) -> None:
    """Note that what an alias names after a move cannot be served; the first note stays.

    Raises:
        OSError: the store cannot be written.
    """
    note = msgspec.json.encode(Refusal(at=now(), by=by, why=why)) + b"\n"
    with contextlib.suppress(FileExistsError):
        store.create(_refusal_key(name, alias, number), note, new_folder=False)


def all_last(store: Store, name: str) -> dict[str, Moved]:
    """The last move of each alias of a model, which counts, in order of the aliases."""
    return {
        alias: _moved(store, name, alias, numbers[-1])
        for alias, numbers in _all_numbers(store, name).items()
    }


def last(store: Store, name: str, alias: str) -> Moved | None:
    """The last move of an alias, which counts; None for an unknown one."""
    numbers = numbers_in(store, f"{_FOLDER}/{name}/{alias}")
    return _moved(store, name, alias, numbers[-1]) if numbers else None


def promote(
    store: Store,
    name: str,
    alias: str,
    version: str,
    *,
    last: Moved | None,
    why: str,
    by: str,
    over: str | None = None,
) -> Moved:
    """Let an alias name a version; where others move it too, one after the other.

    Args:
        store: that has the alias.
        name: of the model.
        alias: of the model.
        version: that it is to name.
        last: the last move, see `last`.
        why: the reason.
        by: who does it.
        over: the version that it must name until then; None for any.

    Raises:
        ConflictError: it names another version than `over`.
    """
    names = last.move.version if last is not None else "none"
    number = last.number if last is not None else 0
    while over is None or names == over:
        number += 1
        try:
            return _move(store, name, alias, number, version=version, why=why, by=by)
        except FileExistsError:
            names = "another one, since this moment"
    raise ConflictError(f"{name}@{alias} does not name version {over} any more, but {names}")


def rollback(store: Store, name: str, alias: str, to: Moved, *, why: str, by: str) -> Moved:
    """Take the last move back.

    Args:
        store: that has the alias.
        name: of the model.
        alias: of the model.
        to: what is left then, from `before`.
        why: the reason.
        by: who does it.

    Raises:
        ConflictError: somebody else has moved the alias since `before` was called.
    """
    try:
        return _move(
            store, name, alias, to.number + 1, version=to.move.version, why=why, by=by, back=True
        )
    except FileExistsError:
        raise ConflictError(
            f"{name}@{alias} has been moved by somebody else at this moment; look at its history"
        ) from None


def before(store: Store, name: str, alias: str) -> Moved:
    """The move that counts when the last one is taken back, with the number of the last one.

    Raises:
        UnknownModelError: there is none.
    """
    moves = history(store, name, alias)
    left = standing(moves)[:-1]
    if not left:
        raise UnknownModelError(f"{name}@{alias} has named no other version before")
    return Moved(number=moves[-1].number, move=left[-1])


def standing(moves: list[Moved]) -> list[AliasMove]:
    """The moves that have not been taken back, the one that counts now last."""
    stack: list[AliasMove] = []
    for each in moves:
        if each.move.back:
            stack.pop()
        else:
            stack.append(each.move)
    return stack


def _all_numbers(
    store: Store, name: str, keys: Iterable[str] | None = None
) -> dict[str, list[int]]:
    """The numbers of the moves of each alias of a model, in order."""
    folder, found = f"{_FOLDER}/{name}", dict[str, list[int]]()
    for key in store.keys(folder) if keys is None else keys:
        alias, _, file = key.removeprefix(f"{folder}/").partition("/")
        stem = file.removesuffix(".json")
        if key.startswith(f"{folder}/") and stem.isdecimal():
            found.setdefault(alias, []).append(int(stem))
    return {alias: sorted(found[alias]) for alias in sorted(found)}


def _moved(store: Store, name: str, alias: str, number: int) -> Moved:
    move = msgspec.json.decode(store.read(_key(name, alias, number)), type=AliasMove)
    return Moved(number=number, move=move)


def _move(store: Store, name: str, alias: str, number: int, **move: object) -> Moved:
    made = AliasMove(at=now(), **move)  # type: ignore[arg-type]
    store.create(_key(name, alias, number), msgspec.json.encode(made) + b"\n")
    return Moved(number=number, move=made)


def _refusal_key(name: str, alias: str, number: int) -> str:
    return _key(name, alias, number).removesuffix(".json") + ".refused.json"


def _key(name: str, alias: str, number: int) -> str:
    return f"{_FOLDER}/{name}/{alias}/{number:06}.json"
