"""A replica follows its alias: the old version serves until the new one has shown that it works."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest
import soundfile

from deploy.demo import MODELS, SPEECH
from schemas.model_card import ModelCard
from schemas.settings import ModelSettings, RegistrySettings
from serve_app.engines.errors import EngineError
from serve_app.model import swap
from serve_app.model.replica import DomainModel
from serve_app.registry.collecting import collect
from serve_app.registry.errors import RegistryFaultError, UnknownModelError
from serve_app.registry.holds import is_hold
from serve_app.registry.local_store import LocalStore
from serve_app.registry.registry import Registry
from serve_app.registry.store import open_store
from tests.serve_app.model.following import Make, ask, refused, serves, until
from tests.versioned import promote, register


async def test_it_changes_to_the_version_that_its_alias_names(folder: Path, make: Make) -> None:
    replica = await make()
    assert await ask(replica) == ("one", "1")
    before = await replica.info()
    promote(folder, "m", "2")
    await until(lambda: serves(replica, "2"))
    assert await ask(replica) == ("two", "2")
    after = await replica.info()
    assert (before.version, after.version) == ("1", "2")
    assert before.sha256 != after.sha256
    Registry(open_store(folder)).rollback("m", "production")
    await until(lambda: serves(replica, "1"))
    assert await ask(replica) == ("one", "1")
    replica.check_health()


@pytest.mark.parametrize("model", ["m:1", "m:latest", "m:newest", "m"])
async def test_a_number_stays_and_the_rest_moves(folder: Path, make: Make, model: str) -> None:
    if model == "m:latest":
        replica = await make(model)
        assert await ask(replica) == ("two", "2")
        register(folder, "m", "three")
        await until(lambda: serves(replica, "3"))
        return
    replica = await make(model)
    first = "2" if model == "m:newest" else "1"
    assert (await ask(replica))[1] == first
    promote(folder, "m", "2")
    if model == "m":
        await until(lambda: serves(replica, "2"))
    else:
        await asyncio.sleep(0.1)  # some looks at the alias, if there were any
        assert (await ask(replica))[1] == first


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"fails": ""}, "version 3: engine 'tests.versioned:VersionedEngine': RuntimeError"),
        (
            {"rejects": ""},
            "version 3: the engine tests.versioned:VersionedEngine fails: RuntimeError",
        ),
    ],
)
async def test_a_version_that_does_not_work_is_refused_once_and_told(
    folder: Path,
    make: Make,
    caplog: pytest.LogCaptureFixture,
    files: dict[str, str],
    said: str,
) -> None:
    replica = await make()
    register(folder, "m", "three", **files)
    promote(folder, "m", "3")
    await until(lambda: refused(replica))
    told = await replica.info()
    assert told.refused.startswith(said)
    assert await ask(replica) == ("one", "1")
    await asyncio.sleep(0.1)
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert errors[0].startswith("model m: version 1 goes on serving; m@production: version 3: ")
    registry = Registry(open_store(folder))
    [*_, noted] = registry.history("m", "production")
    assert noted.refused is not None
    assert noted.refused.why.startswith(said)
    registry.rollback("m", "production")
    await until(lambda: _not_refused(replica))
    assert [each.refused is not None for each in registry.history("m", "production")][-2:] == [
        True,
        False,
    ]
    promote(folder, "m", "2")
    await until(lambda: serves(replica, "2"))


async def _not_refused(replica: DomainModel) -> bool:
    return not await refused(replica)


async def test_a_damaged_version_is_refused(folder: Path, make: Make) -> None:
    replica = await make()
    (folder / "m/2/text").write_text("evil")
    promote(folder, "m", "2")
    await until(lambda: refused(replica))
    assert "text has 4 bytes, not 3" in (await replica.info()).refused
    assert await ask(replica) == ("one", "1")


async def test_a_version_of_another_engine_is_refused(folder: Path, make: Make) -> None:
    with pytest.raises(RegistryFaultError, match="m:1 is a model of the engine"):
        await make(engine="tests.standin:StandInEngine")
    with pytest.raises(UnknownModelError, match="m has no alias `candidate`"):
        await make("m@candidate")


async def test_calls_in_progress_end_with_the_version_that_they_began_with(
    folder: Path, make: Make, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    replica = await make(options={"gate": str(gate)})
    gate.touch()
    old = [asyncio.create_task(ask(replica)) for _ in range(3)]
    await asyncio.sleep(0.05)
    register(folder, "m", "three", seconds="0")
    # the trial of the new version has the gate too
    promote(folder, "m", "3")
    await asyncio.sleep(0.3)
    assert await serves(replica, "1")
    assert not any(task.done() for task in old)
    gate.unlink()
    assert await asyncio.gather(*old) == [("one", "1")] * 3
    await until(lambda: serves(replica, "3"))
    assert await ask(replica) == ("three", "3")


async def test_no_call_fails_while_versions_change(folder: Path, make: Make) -> None:
    replica = await make()
    answers: list[tuple[str, str]] = []
    ending = asyncio.Event()

    async def call() -> None:
        while not ending.is_set():
            answers.append(await ask(replica))

    callers = [asyncio.create_task(call()) for _ in range(4)]
    for version in ("2", "1", "2"):
        promote(folder, "m", version)
        await until(lambda version=version: serves(replica, version))  # type: ignore[misc]
    ending.set()
    await asyncio.gather(*callers)
    assert set(answers) == {("one", "1"), ("two", "2")}


async def test_a_drained_version_makes_calls_wait_and_comes_back_if_the_next_fails(
    folder: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = await make(swap="drain")
    promote(folder, "m", "2")
    await until(lambda: serves(replica, "2"))
    assert await ask(replica) == ("two", "2")
    register(folder, "m", "three", fails="")
    promote(folder, "m", "3")
    await until(lambda: refused(replica))
    assert await ask(replica) == ("two", "2")
    # what passes its trial and fails here all the same
    monkeypatch.setattr(swap, "try_model", lambda settings: None)
    register(folder, "m", "four", fails="")
    promote(folder, "m", "4")

    async def told() -> bool:
        return "version 4" in (await replica.info()).refused

    await until(told)
    assert await ask(replica) == ("two", "2")


async def test_two_versions_need_the_memory_of_two(
    folder: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swap, "available_bytes", lambda: 8)
    replica = await make()
    promote(folder, "m", "2")
    await until(lambda: refused(replica))
    said = (await replica.info()).refused
    assert "no memory to load it beside" in said
    assert "swap: drain" in said
    assert await ask(replica) == ("one", "1")


async def test_a_registry_that_cannot_be_read_changes_nothing(
    folder: Path, make: Make, tmp_path: Path
) -> None:
    replica = await make()
    folder.rename(tmp_path / "away")
    await until(lambda: refused(replica))
    assert await ask(replica) == ("one", "1")
    (tmp_path / "away").rename(folder)
    await until(lambda: _not_refused(replica))


async def test_what_a_replica_serves_is_not_garbage(folder: Path, make: Make) -> None:
    registry, at_once = Registry(open_store(folder)), timedelta(seconds=-5)
    replica = await make("m:2")
    for text in ("three", "four"):
        register(folder, "m", text)
    assert [each.version for each in collect(registry, at_once)] == [3]
    assert await ask(replica) == ("two", "2")
    follower = await make("m@production")
    promote(folder, "m", "4")
    await until(lambda: serves(follower, "4"))
    await until(lambda: _holds(registry, 1, 0))
    assert [each.version for each in collect(registry, at_once)] == [1]
    assert registry.versions("m") == [2, 4]


async def _holds(registry: Registry, version: int, count: int) -> bool:
    return sum(map(is_hold, registry.store.keys(f"m/{version}"))) == count


async def test_a_registry_that_may_only_be_read_is_served_from(
    folder: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("read only")

    monkeypatch.setattr(LocalStore, "create", refuse)
    assert await ask(await make()) == ("one", "1")


async def test_what_does_not_load_at_first_does_not_serve(folder: Path, make: Make) -> None:
    register(folder, "m", "three", fails="")
    with pytest.raises(EngineError, match="told to fail"):
        await make("m:3")


@pytest.mark.nemo
@pytest.mark.slow
async def test_nemo_models_change_under_calls(tmp_path: Path) -> None:
    registry = Registry(open_store(tmp_path / "registry"))
    for name in ("general", "medical"):
        card = ModelCard(name="", version="", domain=name, made="2026-01-01T00:00:00+00:00")
        registry.register("m", {"model.nemo": MODELS / f"{name}.nemo"}, card)
    registry.promote("m", 1, "production")
    settings = ModelSettings(model="m@production", num_cpus=1)
    replica = DomainModel.__new__(DomainModel)
    where = RegistrySettings(url=registry.store.url, poll_s=0.1)
    await cast(Awaitable[None], replica.__init__("m", settings, 60.0, where))  # type: ignore[misc]
    clip, rate = soundfile.read(SPEECH / "medical/medical-demo-00001.opus", dtype="float32")
    texts: dict[str, set[str]] = {"1": set(), "2": set()}

    async def listen(until_version: str) -> None:
        while not (texts[until_version] and await serves(replica, until_version)):
            reply = await replica.transcribe([clip, clip], rate)
            for outcome in reply.outcomes:
                texts[reply.version].add(getattr(outcome.result, "text", ""))

    try:
        async with asyncio.timeout(200):
            await listen("1")
            registry.promote("m", 2, "production")
            await listen("2")
    finally:
        replica.__del__()
    assert [len(each) for each in texts.values()] == [1, 1]
    assert texts["1"] != texts["2"]
    assert (await replica.info()).sha256 == registry.card("m", 2).sha256
