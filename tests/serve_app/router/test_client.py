from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deploy.local import ROOT
from schemas.failures import FailureClass, RecordError
from schemas.manifest import ManifestRecord
from schemas.requests import Backlog, CallOptions
from serve_app.router.client import RouterClient
from serve_app.router.protocol import Probe
from serve_app.scaling.demand_notes import demands
from tests.serve_app.router.test_replica import codes
from tests.waiting import until

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

MakeRecord = Callable[..., ManifestRecord]


async def test_an_application_that_is_not_there_is_an_outage(
    application: Any, make_record: MakeRecord
) -> None:
    router = RouterClient("no-such-application")
    results = await router.transcribe([make_record("a"), make_record("b")])
    assert [result.id for result in results] == ["a", "b"]
    assert codes(results) == ["router_unavailable"] * 2
    assert all(isinstance(each, RecordError) for each in results)
    assert {each.failure for each in results if isinstance(each, RecordError)} == {
        FailureClass.RETRYABLE
    }
    assert await router.probe(timeout_s=1) == Probe(router=False)
    assert not (await router.probe(timeout_s=1)).alive
    with pytest.raises(ConnectionError):
        await router.info()


async def test_a_call_that_takes_too_long_leaves_nothing_behind(
    application: Any, make_record: MakeRecord, gate: Path, events: Path
) -> None:
    """The Router drops the list, and the model the clips that still wait."""
    patient, hasty = RouterClient(application.app), RouterClient(application.app, timeout_s=0.5)
    for time_to_tell_the_model_s in (0.2, 2.0, 10.0):
        gate.touch()
        events.write_text("")
        try:
            first = asyncio.create_task(patient.transcribe([make_record("a", domain="fragile")]))
            while not events.read_text():  # it is in the engine; the next one waits
                await asyncio.sleep(0.01)
            late = await hasty.transcribe([make_record("b", domain="fragile")])
            assert codes(late) == ["router_unavailable"]
            await asyncio.sleep(time_to_tell_the_model_s)
        finally:
            gate.unlink()
        assert codes(await first) == [""]
        assert codes(await patient.transcribe([make_record("c", domain="fragile")])) == [""]
        if events.read_text().split() == ["start", "1", "end", "1"] * 2:
            return
    pytest.fail("a call that was given up was transcribed all the same")


async def test_the_settings_that_a_call_means_are_compared_by_the_router(
    application: Any, make_record: MakeRecord
) -> None:
    router = RouterClient(application.app)
    assert codes(await router.transcribe([make_record("a")])) == [""]
    options = CallOptions(settings="others")
    assert codes(await router.transcribe([make_record("a")], options)) == ["other_settings"]


async def test_what_cannot_be_sent_fails_by_itself(application: Any) -> None:
    record = ManifestRecord(id="a", audio_filepath="\ud800")
    assert codes(await RouterClient(application.app).transcribe([record])) == ["internal_fault"]


OTHER_PROCESS = """
import asyncio, sys
import msgspec
from schemas.manifest import ManifestRecord
from serve_app.cluster import ray_cluster
from serve_app.router.client import RouterClient

ray_cluster.connect(sys.argv[1])
records = msgspec.json.decode(sys.argv[3], type=list[ManifestRecord])

async def main():
    router = RouterClient(sys.argv[2])
    await asyncio.gather(*(router.transcribe([record]) for record in records))

asyncio.run(main())
"""


async def test_the_calls_of_a_process_that_is_killed_are_given_up(
    application: Any, make_record: MakeRecord, gate: Path, events: Path
) -> None:
    records = [make_record(f"k{number}", domain="fragile") for number in range(5)]
    arguments = [application.address, application.app, msgspec.json.encode(records)]
    router = RouterClient(application.app)
    for time_to_notice_s in (5, 30):
        gate.touch()
        events.write_text("")
        try:
            caller = subprocess.Popen([sys.executable, "-c", OTHER_PROCESS, *arguments], cwd=ROOT)
            await until(lambda: bool(events.read_text()), 60)  # the others wait
            caller.kill()
            caller.wait()
            await asyncio.sleep(time_to_notice_s)
        finally:
            gate.unlink()
        assert codes(await router.transcribe([make_record("mine", domain="fragile")])) == [""]
        first, *others = events.read_text().splitlines()
        if others == [first.replace("start", "end"), "start 1", "end 1"]:
            return
    pytest.fail("calls of a process that was killed were transcribed all the same")


async def test_what_waits_for_a_stream_is_noted_for_the_policies(
    application: Any, make_record: MakeRecord
) -> None:
    router = RouterClient(application.app)
    options = CallOptions(group="g")
    backlog = Backlog(
        records=7, arriving=0.5, partitions=3, catch_up_s=60.0, records_per_worker=2000
    )
    told = msgspec.structs.replace(options, backlog=backlog)
    assert await router.transcribe([], told) == []
    assert "g" not in demands(application.app), "nothing is known yet of what it asks"
    records = [make_record("a", domain="medical"), make_record("b")]
    await router.transcribe(records, options)
    assert await router.transcribe([], told) == []
    found = demands(application.app)["g"]
    assert found.backlog == backlog
    assert set(found.audio_s) == {"general", "medical"}
    assert all(0 < seconds < 60 for seconds in found.audio_s.values())


async def test_probe_and_info_of_a_whole_backend(application: Any) -> None:
    router = RouterClient(application.app)
    assert await router.probe(timeout_s=20) == Probe(router=True)
    assert set(await router.info()) == {"general", "medical", "fragile"}
