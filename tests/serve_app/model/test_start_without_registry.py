"""A replica that starts while its registry is out of reach: what it served last, and no other."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from serve_app.registry.errors import RegistryFaultError, UnknownModelError
from serve_app.registry.local_store import LocalStore
from tests.serve_app.model.following import Make, ask, refused, serves, until
from tests.versioned import promote


def unreachable(*_: object) -> bytes:
    raise OSError("the store does not answer")


async def notes_say(cache: Path, version: str) -> bool:
    """Whether a version is noted as the one that served last."""
    notes = [json.loads(each.read_bytes()) for each in (cache / "m").glob("served-*.json")]
    return version in [each["card"]["version"] for each in notes]


@pytest.fixture
def away(tmp_path: Path) -> Path:
    return tmp_path / "away"


async def test_it_starts_from_its_copy_and_follows_again(
    folder: Path, make: Make, away: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = await make(cache=True)
    assert await ask(first) == ("one", "1")
    promote(folder, "m", "2")
    await until(lambda: notes_say(away.parent / "cache", "2"))  # once it serves
    first.__del__()
    folder.rename(away)
    replica = await make(cache=True)
    assert await ask(replica) == ("two", "2")
    said = (await replica.info()).refused
    assert "has no model `m`" in said
    assert said.endswith("version 2 served last, and was loaded from its copy")
    assert [said in each.getMessage() for each in caplog.records if each.levelname == "ERROR"] == [
        True
    ]
    promote(away, "m", "1")
    away.rename(folder)
    await until(lambda: serves(replica, "1"))
    assert not await refused(replica)
    assert await ask(replica) == ("one", "1")


async def test_a_pinned_version_starts_from_its_copy_and_is_held_afterwards(
    folder: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    (await make("m:1", cache=True)).__del__()
    for hold in (folder / "m/1").glob("hold-*"):
        hold.unlink()
    promote(folder, "m", "2")
    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "read", unreachable)
        replica = await make("m:1", cache=True)
        assert await ask(replica) == ("one", "1")
        assert (await replica.info()).refused.startswith("the store does not answer; version 1 ")
        with pytest.raises(OSError, match="does not answer"):
            await make("m:2", cache=True)
        with pytest.raises(OSError, match="does not answer"):
            await make("m@production", cache=True)

    async def held() -> bool:
        return bool(list((folder / "m/1").glob("hold-*")))

    await until(held)
    assert not await refused(replica)
    assert await ask(replica) == ("one", "1")


async def test_a_registry_that_answers_is_believed(folder: Path, make: Make) -> None:
    (await make("m:1", cache=True)).__del__()
    (folder / "m/1/model.json").unlink()
    with pytest.raises(UnknownModelError, match="m has no version 1; it has 2"):
        await make("m:1", cache=True)


async def test_a_damaged_copy_refused(folder: Path, make: Make, away: Path) -> None:
    (await make(cache=True)).__del__()
    folder.rename(away)
    [copy] = (folder.parent / "cache/m").glob("1-*/text")
    copy.write_text("evil")
    with pytest.raises(RegistryFaultError, match="m:1: text has 4 bytes, not 3"):
        await make(cache=True)


async def test_a_folder_that_is_read_in_place_has_no_copy(
    folder: Path, make: Make, away: Path
) -> None:
    (await make()).__del__()
    folder.rename(away)
    with pytest.raises(UnknownModelError, match="has no model `m`"):
        await make()


async def test_a_replica_serves_although_it_cannot_note_what(
    folder: Path, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    first = await make(cache=True)
    first.__del__()
    [note] = (folder.parent / "cache/m").glob("served-*.json")
    note.unlink()
    note.mkdir()
    caplog.set_level(logging.WARNING)
    assert await ask(await make(cache=True)) == ("one", "1")
    [said] = [each.getMessage() for each in caplog.records]
    assert "model m: it could not start without the registry: " in said
