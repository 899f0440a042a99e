from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from schemas.failures import ErrorCode, RecordError
from schemas.manifest import ManifestRecord
from schemas.requests import CallOptions
from schemas.transcript import Transcript
from serve_app.audio.clip import Clip, Recording
from serve_app.http.coalescing import MAX_SHARED_SECONDS, RequestCoalescer
from serve_app.router.results import Result
from tests.serve_app.http.conftest import RATE, FakeRouter, until
from tests.standin import text_of

OPTIONS = CallOptions(words=True, interactive=True)


def clip(number: int, seconds: float = 1.0) -> Clip:
    return np.full(int(seconds * RATE), number / 100, np.float32)


def ask(
    coalescer: RequestCoalescer, number: int, options: CallOptions = OPTIONS, seconds: float = 1.0
) -> asyncio.Task[list[Result]]:
    record = ManifestRecord(id=f"r{number}", audio_filepath="upload")
    call = coalescer.transcribe([record], options, [Recording(clip(number, seconds))])
    return asyncio.create_task(call)


def ids(router: FakeRouter) -> list[list[str]]:
    return [[each.id for each in records] for records, _ in router.calls]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_nothing_waits_where_nothing_is_under_way(router: FakeRouter) -> None:
    coalescer = RequestCoalescer(router)
    [found] = await ask(coalescer, 1)
    assert isinstance(found, Transcript)
    assert (found.id, found.pred_text) == ("r1", text_of(clip(1)))
    assert ids(router) == [["r1"]]


async def test_what_comes_meanwhile_goes_together(router: FakeRouter) -> None:
    coalescer = RequestCoalescer(router, calls=1)
    router.gate.clear()
    calls = [ask(coalescer, number) for number in range(5)]
    await settle()
    assert ids(router) == [["r0"]]
    router.gate.set()
    results = [await call for call in calls]
    assert ids(router) == [["r0"], ["r1", "r2", "r3", "r4"]]
    for number, [found] in enumerate(results):
        assert isinstance(found, Transcript)
        assert (found.id, found.pred_text) == (f"r{number}", text_of(clip(number)))


async def test_only_what_is_wanted_alike_goes_together(router: FakeRouter) -> None:
    coalescer = RequestCoalescer(router, calls=1)
    router.gate.clear()
    other = CallOptions(target="medical", words=True, interactive=True)
    calls = [ask(coalescer, 0), ask(coalescer, 1), ask(coalescer, 2, other), ask(coalescer, 3)]
    await settle()
    router.gate.set()
    await asyncio.gather(*calls)
    assert ids(router) == [["r0"], ["r1", "r3"], ["r2"]]
    assert [options.target for _, options in router.calls] == [None, None, "medical"]


async def test_much_audio_goes_alone_and_at_once(router: FakeRouter) -> None:
    coalescer = RequestCoalescer(router, calls=1)
    router.gate.clear()
    calls = [ask(coalescer, 0), ask(coalescer, 1), ask(coalescer, 2, seconds=MAX_SHARED_SECONDS)]
    await settle()
    assert sorted(ids(router)) == [["r0"], ["r2"]]
    router.gate.set()
    await asyncio.gather(*calls)


async def test_nobody_is_blamed_for_another_who_killed_the_model(router: FakeRouter) -> None:
    """Three share a call over which the model dies; it dies again only over the one at fault."""

    class Fragile(FakeRouter):
        async def transcribe(
            self,
            records: Sequence[ManifestRecord],
            options: CallOptions = OPTIONS,
            clips: Sequence[Recording] | None = None,
        ) -> list[Result]:
            found = await super().transcribe(records, options, clips)
            if any(record.id == "r2" for record in records):
                code = ErrorCode.MODEL_DIED
                return [RecordError(id=each.id, code=code, message="died") for each in records]
            return found

    fragile = Fragile()
    coalescer = RequestCoalescer(fragile, calls=1)
    fragile.gate.clear()
    calls = [ask(coalescer, number) for number in range(4)]
    await settle()
    fragile.gate.set()
    [[_], [first], [second], [third]] = [await call for call in calls]
    assert isinstance(first, Transcript)
    assert isinstance(second, RecordError)
    assert isinstance(third, Transcript)
    assert ids(fragile) == [["r0"], ["r1", "r2", "r3"], ["r1"], ["r2"], ["r3"]]


async def test_who_goes_away_takes_only_his_own_work_along(router: FakeRouter) -> None:
    coalescer = RequestCoalescer(router, calls=1)
    router.gate.clear()
    held, waiting, stays = ask(coalescer, 0), ask(coalescer, 1), ask(coalescer, 2)
    await settle()
    waiting.cancel()
    held.cancel()  # nobody shares its call
    await until(lambda: router.cancelled == 1)
    router.gate.set()
    [found] = await stays
    assert found.id == "r2"
    assert ids(router) == [["r0"], ["r2"]]


async def test_a_fault_of_the_second_attempt_leaves_nobody_waiting(router: FakeRouter) -> None:
    """Two share a call over which the model dies; the call of the first alone then raises."""

    class Fragile(FakeRouter):
        async def transcribe(
            self,
            records: Sequence[ManifestRecord],
            options: CallOptions = OPTIONS,
            clips: Sequence[Recording] | None = None,
        ) -> list[Result]:
            await super().transcribe(records, options, clips)
            if len(self.calls) == 3:
                raise ValueError("a bug of the client")
            code = ErrorCode.MODEL_DIED
            return [RecordError(id=each.id, code=code, message="died") for each in records]

    fragile = Fragile()
    coalescer = RequestCoalescer(fragile, calls=1)
    fragile.gate.clear()
    calls = [ask(coalescer, number) for number in range(3)]
    await settle()
    fragile.gate.set()
    async with asyncio.timeout(5):
        _, *faults = await asyncio.gather(*calls, return_exceptions=True)
    assert ids(fragile) == [["r0"], ["r1", "r2"], ["r1"]]
    assert [str(fault) for fault in faults] == ["a bug of the client"] * 2


async def test_a_fault_of_the_call_is_everybodys(router: FakeRouter) -> None:
    class Broken(FakeRouter):
        async def transcribe(
            self,
            records: Sequence[ManifestRecord],
            options: CallOptions = OPTIONS,
            clips: Sequence[Recording] | None = None,
        ) -> list[Result]:
            await super().transcribe(records, options, clips)
            raise ValueError("a bug of the client")

    broken = Broken()
    coalescer = RequestCoalescer(broken, calls=1)
    broken.gate.clear()
    calls = [ask(coalescer, number) for number in range(3)]
    await settle()
    broken.gate.set()
    faults = await asyncio.gather(*calls, return_exceptions=True)
    assert [str(fault) for fault in faults] == ["a bug of the client"] * 3
