"""The Router and the models on a real Serve."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from schemas.failures import ErrorCode, RecordError
from schemas.manifest import ManifestRecord
from schemas.transcript import Transcript
from serve_app.router.client import RouterClient
from serve_app.router.results import Result
from tests.processes import command_of
from tests.serve_app.conftest import tone
from tests.standin import Mark, marked_clip, text_of

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

MakeRecord = Callable[..., ManifestRecord]


@pytest.fixture(scope="package")
def router(application: Any) -> RouterClient:
    return RouterClient(application.app, timeout_s=100)


def codes(results: Sequence[Result]) -> list[str]:
    """The error code of each result; "" for a transcript."""
    return [result.code.value if isinstance(result, RecordError) else "" for result in results]


def replica(name: str) -> psutil.Process:
    """The process of the only replica of the deployment `name`."""
    for process in psutil.Process().children(recursive=True):
        title = "".join(command_of(process)[:1])
        if title.startswith("ray::ServeReplic") and f":{name}" in title:
            return process
    raise LookupError(name)


async def eventually(attempt: Callable[[], Awaitable[bool]], timeout_s: float = 90) -> None:
    async with asyncio.timeout(timeout_s):
        while not await attempt():
            await asyncio.sleep(0.2)


async def exists(path: Path) -> bool:
    return path.exists()


async def whole_again(router: RouterClient) -> None:
    async def alive() -> bool:
        return (await router.probe(timeout_s=2)).alive

    await eventually(alive)


async def test_every_record_has_its_result_in_order(
    router: RouterClient, make_record: MakeRecord
) -> None:
    clips = [tone(0.1 + 0.05 * (number % 7), number) for number in range(40)]
    records = [
        make_record(f"n{number}", clip, domain="medical" if number % 3 else None)
        for number, clip in enumerate(clips)
    ]
    results = await router.transcribe(records)
    assert [result.id for result in results] == [rec.id for rec in records]
    transcripts = [result for result in results if isinstance(result, Transcript)]
    assert len(transcripts) == 40
    # the 16-bit file holds the tone rounded; the engine hears exactly what the file holds
    assert len({result.pred_text for result in transcripts}) > 30
    assert [result.selected_model for result in transcripts] == [
        "medical" if number % 3 else "general" for number in range(40)
    ]
    assert len({result.model_sha256 for result in transcripts}) == 2


async def test_what_the_engine_hears_is_what_the_file_holds(
    router: RouterClient, make_record: MakeRecord
) -> None:
    clip = marked_clip("reject") * 0  # silence survives 16 bits exactly
    [result] = await router.transcribe([make_record("silence", clip)])
    assert isinstance(result, Transcript)
    assert result.pred_text == text_of(clip)


async def test_bad_audio_among_good(
    router: RouterClient, make_record: MakeRecord, audio_root: Path
) -> None:
    (audio_root / "text.wav").write_text("this is no audio")
    results = await router.transcribe(
        [
            make_record("good"),
            ManifestRecord(id="missing", audio_filepath=str(audio_root / "nowhere.wav")),
            ManifestRecord(id="outside", audio_filepath="/etc/hostname"),
            ManifestRecord(id="text", audio_filepath=str(audio_root / "text.wav")),
            make_record("rejected", marked_clip("reject")),
            make_record("raises", marked_clip("raise")),
            make_record("nothing", marked_clip("nothing")),
            make_record("good2"),
        ]
    )
    assert codes(results) == [
        "",
        "audio_missing",
        "audio_outside_roots",
        "audio_undecodable",
        "model_rejected",
        "model_fault",
        "model_fault",
        "",
    ]


async def test_a_fault_of_an_engine_names_the_model_and_the_engine(
    router: RouterClient, make_record: MakeRecord
) -> None:
    [result] = await router.transcribe([make_record("nothing", marked_clip("nothing"))])
    assert isinstance(result, RecordError)
    assert "model general: the engine tests.standin:StandInEngine" in result.message
    assert "NoneType" in result.message


async def test_lists_overlap(router: RouterClient, make_record: MakeRecord, gate: Path) -> None:
    """While one model works on a list, another list is read and transcribed."""
    gate.touch()
    try:
        held = asyncio.create_task(router.transcribe([make_record("held", domain="fragile")]))
        results = await router.transcribe([make_record("other")])
        assert codes(results) == [""]
        assert not held.done()
    finally:
        gate.unlink()
    assert codes(await held) == [""]


async def test_a_replica_that_dies_fails_only_its_group_and_comes_back(
    router: RouterClient, make_record: MakeRecord
) -> None:
    dies = make_record("dies", marked_clip("crash"), domain="fragile")
    results = await router.transcribe(
        [make_record("a"), dies, make_record("b", domain="fragile"), make_record("c")]
    )
    assert codes(results) == ["", "model_died", "model_died", ""]
    assert [r.model for r in results if isinstance(r, RecordError)] == ["fragile", "fragile"]
    await whole_again(router)
    assert codes(await router.transcribe([make_record("b2", domain="fragile")])) == [""]


async def test_a_replica_killed_over_a_call_is_missed_until_it_is_back(
    router: RouterClient, make_record: MakeRecord, gate: Path, events: Path
) -> None:
    gate.touch()
    try:
        events.unlink(missing_ok=True)
        call = asyncio.create_task(router.transcribe([make_record("a", domain="fragile")]))
        await eventually(lambda: exists(events))  # the call is in the engine
        replica("fragile").kill()
        assert codes(await call) == ["model_died"]
        sign = await router.probe(timeout_s=0.5)
        assert sign.router
        assert sign.silent == ("fragile",)
    finally:
        gate.unlink()
    await whole_again(router)


async def test_an_ensemble_goes_on_without_a_member_that_is_killed(
    router: RouterClient, make_record: MakeRecord, gate: Path, events: Path
) -> None:
    records = [make_record(f"t{n}", tone(number=n), domain="together") for n in range(4)]
    whole = await router.transcribe(records)
    assert [r.ensemble_model_count for r in whole if isinstance(r, Transcript)] == [3] * 4
    gate.touch()
    try:
        events.unlink(missing_ok=True)
        call = asyncio.create_task(router.transcribe(records))
        await eventually(lambda: exists(events))  # the call is in the engine
        replica("fragile").kill()
        results = await call
        assert codes(results) == [""] * 4
        for result in results:
            assert isinstance(result, Transcript)
            assert result.ensemble_model_count == 2
            assert set(result.failed_models or {}) == {"fragile"}
    finally:
        gate.unlink()
    await whole_again(router)


async def test_a_fallback_answers_while_a_model_is_away(
    router: RouterClient, make_record: MakeRecord, gate: Path
) -> None:
    gate.touch()
    try:
        [result] = await router.transcribe([make_record("f", domain="careful")])
    finally:
        gate.unlink()
    assert isinstance(result, Transcript)
    assert (result.selected_model, result.fallback_from) == ("general", "careful")
    assert result.failed_models == {"fragile": "model_timeout"}
    await whole_again(router)


@pytest.mark.parametrize("mark", ["hang", "break"])
async def test_an_engine_that_works_no_more_is_replaced(
    mark: Mark, router: RouterClient, make_record: MakeRecord
) -> None:
    before = replica("fragile").pid
    bad = make_record("bad", marked_clip(mark), domain="fragile")
    results = await router.transcribe([bad, make_record("fine")])
    assert codes(results) == ["model_died", ""]

    async def replaced() -> bool:
        return (await router.probe(timeout_s=2)).alive and replica("fragile").pid != before

    await eventually(replaced)


async def test_a_router_that_dies_makes_suspects_of_its_records(
    router: RouterClient, make_record: MakeRecord, gate: Path
) -> None:
    gate.touch()
    try:
        records = [make_record("x", domain="fragile"), make_record("y")]
        call = asyncio.create_task(router.transcribe(records))
        # the list is with the Router once its model has been asked, which another list shows
        await router.transcribe([make_record("z")])
        replica("Router").kill()
        results = await call
    finally:
        gate.unlink()
    assert [result.id for result in results] == ["x", "y"]
    assert codes(results) == [ErrorCode.ROUTER_DIED.value] * 2
    await whole_again(router)
    assert codes(await router.transcribe(records)) == ["", ""]


async def test_info_names_what_is_served(router: RouterClient) -> None:
    info = await router.info()
    assert set(info) == {"general", "medical", "fragile"}
    assert {each.device for each in info.values()} == {"cpu"}
    assert len({each.sha256 for each in info.values()}) == 3
