from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from serve_app.registry import collecting
from serve_app.registry.collecting import collect, find_garbage
from serve_app.registry.errors import RegistryFaultError, UnknownModelError
from serve_app.registry.holds import hold
from serve_app.registry.registry import Registry
from serve_app.registry.store import Store, exists
from tests.serve_app.registry.conftest import Register

#: Everything is older than this.
AT_ONCE = timedelta(seconds=-5)
MONTH = timedelta(days=30)


def found(registry: Registry, unused: timedelta = AT_ONCE, in_use: Sequence[str] = ()) -> list[int]:
    return [each.version for each in find_garbage(registry, unused, in_use)]


def age(store: Store, folder: str, days: int) -> None:
    """Let the number of a version have been reserved days ago."""
    store.remove(f"{folder}/claim.json")
    then = datetime.now(UTC) - timedelta(days=days)
    content = msgspec.json.encode({"by": "t", "at": then.isoformat()})
    store.create(f"{folder}/claim.json", content)


def test_what_nothing_names_is_garbage_and_its_number_stays_taken(
    registry: Registry, register: Register
) -> None:
    for _ in range(4):
        register()
    registry.promote("medical", 2, "production")
    assert found(registry, MONTH) == []
    assert found(registry) == [1, 3]  # not the last one
    assert [each.version for each in collect(registry, AT_ONCE)] == [1, 3]
    assert registry.versions("medical") == [2, 4]
    assert not [key for key in registry.store.keys("medical/1") if key.endswith("nemo")]
    register()
    assert registry.versions("medical") == [2, 4, 5]
    assert found(registry) == [4]


def test_what_an_alias_named_within_the_time_is_kept(
    registry: Registry, register: Register
) -> None:
    for _ in range(4):
        register()
    for version in (1, 2, 3):
        registry.promote("medical", version, "production")
    for version in (1, 2, 3):
        age(registry.store, f"medical/{version}", 60)
    assert found(registry, MONTH) == []
    assert found(registry) == [1, 2]


def test_what_replicas_run_is_kept(registry: Registry, register: Register) -> None:
    running = register()
    register()
    assert found(registry) == [1]
    assert found(registry, in_use=[running.sha256]) == []


def test_unfinished_versions_are_removed_after_the_time(
    registry: Registry, register: Register
) -> None:
    register()
    registry.store.create("medical/2/claim.json", b"{}")
    registry.store.create("medical/2/model.nemo", b"half")
    age(registry.store, "medical/2", 3)
    assert found(registry, MONTH) == []
    assert found(registry, timedelta(days=1)) == [2]
    assert [each.unfinished for each in collect(registry, timedelta(days=1))] == [True]
    assert found(registry, timedelta(days=1)) == []
    assert register().version == "3"


def test_who_finishes_a_version_while_it_is_removed_is_told(
    registry: Registry, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = registry.store.add

    def slow(key: str, *args: object, **more: object) -> None:
        add(key, *args, **more)  # type: ignore[arg-type]
        age(registry.store, "medical/1", 3)
        assert [each.version for each in collect(registry, timedelta(days=1))] == [1]

    with monkeypatch.context() as patch:
        patch.setattr(registry.store, "add", slow)
        with pytest.raises(RegistryFaultError, match="register it again"):
            register()
    assert registry.versions("medical") == []
    assert register().version == "2"


def test_who_promotes_a_version_while_it_is_removed_is_told(
    registry: Registry, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        register()
    registry.promote("medical", 3, "production")
    registry.store.create("medical/1/removed.json", b"{}")
    with pytest.raises(UnknownModelError, match="medical:1 is being removed"):
        registry.promote("medical", 1, "production")
    assert len(registry.history("medical", "production")) == 1


def test_what_is_held_stays_unless_its_holder_is_long_dead(
    registry: Registry, register: Register
) -> None:
    for _ in range(2):
        register()
    with hold(registry.store, "medical/1"):
        assert list(collect(registry, AT_ONCE)) == []
        assert registry.versions("medical") == [1, 2]
        assert not exists(registry.store, "medical/1/removed.json")
    long_ago = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    registry.store.create("medical/1/hold-1.json", msgspec.json.encode({"at": long_ago}))
    assert [each.version for each in collect(registry, AT_ONCE)] == [1]


def test_there_is_no_way_back_to_what_was_removed(registry: Registry, register: Register) -> None:
    for version in (1, 2, 3):
        register()
        registry.promote("medical", version, "production")
    list(collect(registry, AT_ONCE))
    assert registry.versions("medical") == [3]
    with pytest.raises(UnknownModelError, match="medical has no version 2"):
        registry.rollback("medical", "production")


def test_what_is_promoted_while_it_is_looked_at_stays(
    registry: Registry, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    register()
    garbage = find_garbage(registry, AT_ONCE)
    registry.promote("medical", 1, "production")
    monkeypatch.setattr(collecting, "find_garbage", lambda *_, **__: garbage)
    assert list(collect(registry, AT_ONCE)) == []
    assert registry.versions("medical") == [1, 2]
    registry.promote("medical", 1, "candidate")


def test_an_interrupted_removal_is_finished_or_undone(
    registry: Registry, register: Register
) -> None:
    for _ in range(3):
        register()
    registry.promote("medical", 1, "production")
    for version in (1, 2):  # killed right after the marker was written
        registry.store.create(f"medical/{version}/removed.json", b"{}")
    assert {each.version for each in collect(registry, AT_ONCE)} == {2}
    assert registry.versions("medical") == [1, 3]
    registry.promote("medical", 1, "candidate")
    registry.store.remove("medical/3/model.json")  # killed right after the card was removed
    list(collect(registry, AT_ONCE))
    assert registry.store.keys("medical/3") == ["medical/3/claim.json", "medical/3/removed.json"]


def test_a_look_lists_the_store_once_and_changes_nothing(
    registry: Registry, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("medical", "legal"):
        for _ in range(3):
            register(name)
        registry.promote(name, 2, "production")
        registry.promote(name, 2, "candidate")
    long_ago = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    registry.store.create("medical/2/hold-1.json", msgspec.json.encode({"at": long_ago}))
    before = registry.store.keys("")
    listed: list[str] = []
    keys = registry.store.keys

    def listing(folder: str) -> list[str]:
        listed.append(folder)
        return keys(folder)

    with monkeypatch.context() as patch:
        patch.setattr(registry.store, "keys", listing)
        assert found(registry) == [1, 1]
    assert listed == [""]
    assert registry.store.keys("") == before
    list(collect(registry, AT_ONCE))
    assert "medical/2/hold-1.json" not in registry.store.keys("medical/2")


def test_what_is_no_version_is_not_looked_at(registry: Registry, register: Register) -> None:
    register()
    register("3")
    registry.promote("3", 1, "production")
    for key in ("notes/readme/claim.json", "rollouts/1/claim.json", "aliases/3/x/claim.json"):
        registry.store.create(key, b"{}")
    assert found(registry) == []
    assert list(collect(registry, AT_ONCE)) == []
    assert registry.names() == ["3", "medical"]
