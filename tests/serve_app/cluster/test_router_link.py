"""The connection to Ray in a process of its own, with the real Router."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from deploy.local import ROOT
from schemas.manifest import ManifestRecord
from schemas.settings import Settings, settings_digest
from serve_app.cluster.announcements import OtherSettingsError, announced
from serve_app.cluster.router_link import RouterLink
from serve_app.router.client import RouterClient
from serve_app.router.protocol import Probe
from tests.processes import command_of
from tests.serve_app.router.test_replica import codes
from tests.waiting import until
from workers.broker.ports import free_ports

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

MakeRecord = Callable[..., ManifestRecord]


@pytest.fixture(scope="module")
def link(application: Any, settings: Settings) -> Iterator[RouterLink]:
    found = RouterLink(settings, application.address)
    found.open()
    yield found
    found.close()


def other(settings: Settings) -> Settings:
    """Settings of other models under the same name."""
    raw = msgspec.to_builtins(settings)
    raw["models"]["general"]["options"]["model"] = "another"
    return msgspec.convert(raw, Settings)


def processes() -> list[psutil.Process]:
    return [
        process
        for process in psutil.Process().children()
        if "serve_app.cluster.router_process" in command_of(process)
    ]


async def waiting(link: RouterLink) -> asyncio.Task[None]:
    """The opening of a link whose application starts."""
    opening = asyncio.create_task(asyncio.to_thread(link.open))
    await asyncio.sleep(1.0)
    assert not opening.done()
    return opening


async def test_calls_pass_through(link: RouterLink, make_record: MakeRecord) -> None:
    results = await link.transcribe([make_record("a"), make_record("gone", None, offset=9.0)])
    assert [each.id for each in results] == ["a", "gone"]
    assert codes(results) == ["", "audio_empty"]
    assert await link.probe(timeout_s=20) == Probe(router=True)


async def test_calls_under_way_fail_with_the_process_and_later_ones_have_another(
    link: RouterLink, make_record: MakeRecord, gate: Path, events: Path
) -> None:
    gate.touch()
    events.write_text("")
    try:
        call = asyncio.create_task(link.transcribe([make_record("a", domain="fragile")]))
        await until(lambda: bool(events.read_text()), timeout_s=60)
        [process] = processes()
        process.kill()
        with pytest.raises(ConnectionError, match="the connection to Ray has ended"):
            await call
    finally:
        gate.unlink()
    assert codes(await link.transcribe([make_record("b")])) == [""]
    assert process not in processes()


async def test_a_call_that_is_given_up_is_given_up_there_too(
    link: RouterLink, make_record: MakeRecord, gate: Path, events: Path
) -> None:
    gate.touch()
    events.write_text("")
    try:
        call = asyncio.create_task(link.transcribe([make_record("a", domain="fragile")]))
        await until(lambda: bool(events.read_text()), timeout_s=60)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    finally:
        gate.unlink()
    assert codes(await link.transcribe([make_record("b", domain="fragile")])) == [""]


async def test_the_announced_application_is_found(
    application: Any, settings: Settings, make_record: MakeRecord
) -> None:
    link = RouterLink(settings)
    with pytest.raises(ConnectionError, match="no `chorus serve` with the application `tests`"):
        link.open()
    with announced(settings.serve.app, settings_digest(settings), application.address):
        try:
            await asyncio.to_thread(link.open)
            assert (await link.probe(timeout_s=20)).router
        finally:
            link.close()


async def test_an_application_that_starts_is_waited_for(
    application: Any, settings: Settings, make_record: MakeRecord
) -> None:
    link = RouterLink(settings)
    before = set(processes())
    with announced(settings.serve.app, settings_digest(settings)) as announcer:
        try:
            link.prepare()
            opening = await waiting(link)
            assert set(processes()) == before, "its cluster needs the cores more"
            announcer.starts_at(application.address)
            await until(lambda: len(set(processes()) - before) == 1, timeout_s=20)
            joined = set(processes()) - before
            assert not opening.done()
            announcer.runs_at(application.address)
            await opening
            assert set(processes()) - before == joined
            assert (await link.probe(timeout_s=20)).router
        finally:
            link.close()


async def test_a_start_that_fails_is_not_in_the_way_of_the_next(
    application: Any, settings: Settings
) -> None:
    """The process has been told to connect to a cluster that is gone."""
    link = RouterLink(settings)
    with announced(settings.serve.app, settings_digest(settings)) as announcer:
        announcer.starts_at("127.0.0.1:1")
        link.prepare()
        opening = await waiting(link)
        with announced(settings.serve.app, settings_digest(settings), application.address):
            try:
                await opening
                assert (await link.probe(timeout_s=20)).router
            finally:
                link.close()


async def test_an_application_that_does_not_come_up_is_not_waited_for(settings: Settings) -> None:
    link = RouterLink(settings)
    with announced(settings.serve.app, settings_digest(settings)):
        opening = await waiting(link)
    with pytest.raises(ConnectionError, match="no `chorus serve` with the application `tests`"):
        await opening
    link.close()


async def test_what_is_closed_waits_no_longer(settings: Settings) -> None:
    link = RouterLink(settings)
    with announced(settings.serve.app, settings_digest(settings)):
        opening = await waiting(link)
        link.close()
        with pytest.raises(ConnectionError, match="the worker stops"):
            await opening


async def test_a_prepared_process_that_has_ended_is_replaced(
    application: Any, settings: Settings
) -> None:
    link = RouterLink(settings, application.address)
    before = set(processes())
    link.prepare()
    [prepared] = set(processes()) - before
    prepared.kill()
    prepared.wait()
    await asyncio.to_thread(link.open)
    assert (await link.probe(timeout_s=20)).router
    link.close()


async def test_an_application_with_other_settings_is_refused(
    application: Any, settings: Settings, make_record: MakeRecord
) -> None:
    link = RouterLink(other(settings), application.address)
    with pytest.raises(OtherSettingsError, match=f"`tests` at {application.address} runs with"):
        await asyncio.to_thread(link.open)
    with pytest.raises(ConnectionError, match="other models"):
        await link.transcribe([make_record("a")])
    assert await link.probe() == Probe(router=False)
    link.close()


async def test_a_router_whose_settings_have_changed_transcribes_nothing(
    application: Any, settings: Settings, make_record: MakeRecord
) -> None:
    client = RouterClient(application.app, settings=settings_digest(other(settings)))
    assert codes(await client.transcribe([make_record("a")])) == ["other_settings"]
    assert await client.probe(timeout_s=20) == Probe(router=False)


async def test_settings_that_change_are_told_once(
    application: Any,
    settings: Settings,
    link: RouterLink,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(link, "_digest", "as if the application had been updated")
    monkeypatch.setattr(link, "_call", changed(link._call))
    for _ in range(2):
        assert await link.probe(timeout_s=20) == Probe(router=False)
    assert [each.getMessage() for each in caplog.records] == [
        "the application `tests` runs with other models, plans, rules or limits than these "
        "settings; use its settings, or another application"
    ]


def changed(call: Callable[..., Any]) -> Callable[..., Any]:
    """`call`, with the answer that a client gives to a probe of other settings."""

    async def answer(method: str, *arguments: Any) -> Any:
        return Probe(router=False) if method == "probe" else await call(method, *arguments)

    return answer


async def test_what_is_no_ray_cluster_is_refused(settings: Settings) -> None:
    [port] = free_ports(1)
    link = RouterLink(settings, f"127.0.0.1:{port}")
    with pytest.raises(ConnectionError, match=f"no Ray cluster answers at 127.0.0.1:{port}"):
        link.open()
    link.close()


async def test_it_does_without_ray_in_its_own_process() -> None:
    code = (
        "import sys\n"
        "import workers.stream.worker, serve_app.cluster.router_link\n"
        "sys.exit('ray' in sys.modules)\n"
    )
    command = [sys.executable, "-c", code]
    done = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, check=False)
    assert done.returncode == 0
