from __future__ import annotations

import threading
from pathlib import Path

import pytest

from serve_app.registry import aliases
from serve_app.registry.errors import ConflictError, UnknownModelError
from serve_app.registry.local_store import LocalStore
from serve_app.registry.registry import Registry
from serve_app.registry.store import Store
from tests.serve_app.registry.conftest import Register


def test_an_alias_is_promoted_and_rolled_back_step_by_step(
    registry: Registry, register: Register
) -> None:
    for _ in range(3):
        register()
    for version in (1, 2, 3):
        registry.promote("medical", version, "production", why=f"test {version}", by="ann")
    assert registry.aliases("medical") == {"production": "3"}
    assert registry.rollback("medical", "production", why="worse").move.version == "2"
    assert registry.rollback("medical", "production").move.version == "1"
    with pytest.raises(UnknownModelError, match="no other version before"):
        registry.rollback("medical", "production")
    registry.promote("medical", 3, "production")
    assert registry.rollback("medical", "production").move.version == "1"
    moves = [each.move for each in registry.history("medical", "production")]
    assert [(move.version, move.back) for move in moves] == [
        ("1", False),
        ("2", False),
        ("3", False),
        ("2", True),
        ("1", True),
        ("3", False),
        ("1", True),
    ]
    assert (moves[0].by, moves[0].why) == ("ann", "test 1")
    assert moves[3].why == "worse"


def test_promoting_what_serves_already_is_no_move(registry: Registry, register: Register) -> None:
    for version in (1, 2):
        register()
        registry.promote("medical", version, "production")
    again = registry.promote("medical", 2, "production", why="again")
    assert (again.number, again.move.why) == (2, "")
    assert len(registry.history("medical", "production")) == 2
    assert registry.rollback("medical", "production").move.version == "1"


def test_what_there_is_not_cannot_be_promoted_or_rolled_back(
    registry: Registry, register: Register
) -> None:
    register()
    with pytest.raises(UnknownModelError, match="no version 2"):
        registry.promote("medical", 2, "production")
    with pytest.raises(UnknownModelError, match="no alias `production`"):
        registry.rollback("medical", "production")
    with pytest.raises(UnknownModelError, match="no alias `production`"):
        registry.history("medical", "production")
    assert registry.aliases("medical") == {}


def test_no_promotion_of_several_writers_is_lost(store: Store) -> None:
    def write(number: int) -> None:
        for version in range(10):
            aliases.promote(store, "m", "a", f"{number}.{version}", last=None, why="", by="t")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    moves = aliases.history(store, "m", "a")
    assert [each.number for each in moves] == list(range(1, 41))
    assert len({each.move.version for each in moves}) == 40


class _Slow(LocalStore):
    """Lets somebody else move the alias just before a file is created."""

    def create(self, key: str, content: bytes, *, new_folder: bool = True) -> None:
        super().create(key, content.replace(b"mine", b"other"), new_folder=new_folder)
        super().create(key, content, new_folder=new_folder)


def test_of_two_rollbacks_at_once_one_is_refused(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    for version in ("1", "2", "3"):
        aliases.promote(store, "m", "a", version, last=None, why="", by="t")
    to = aliases.before(store, "m", "a")
    with pytest.raises(ConflictError, match="moved by somebody else"):
        aliases.rollback(_Slow(tmp_path), "m", "a", to, why="", by="mine")
    assert aliases.history(store, "m", "a")[-1].move.by == "other"
    assert len(aliases.history(store, "m", "a")) == 4
