from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.failures import FailureClass, RecordError
from schemas.manifest import ManifestRecord
from serve_app.router_client import Probe, RouterClient
from tests.serve_app.test_router import codes

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


async def test_probe_and_info_of_a_whole_backend(application: Any) -> None:
    router = RouterClient(application.app)
    assert await router.probe(timeout_s=20) == Probe(router=True)
    assert set(await router.info()) == {"general", "medical", "fragile"}
