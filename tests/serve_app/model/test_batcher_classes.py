"""Interactive and bulk clips in one batcher."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from schemas.requests import ClipRequest
from serve_app.audio.clip import Clip
from serve_app.engines.base import Hypothesis, Rejection
from serve_app.model.batcher import Batcher, BrokenOverCallError, EngineBrokenError, QueueFullError
from tests.serve_app.model.fake_engine import RATE, FakeEngine, asking, clip, entered, running
from tests.waiting import until

#: Lengths of clips, of which at most one fits into a batch of one second.
INTERACTIVE, BULK = 0.7, 0.9


def classes(engine: FakeEngine) -> str:
    """The class of each batch, by the lengths of its clips."""
    letters = {int(INTERACTIVE * RATE): "i", int(BULK * RATE): "b"}
    return "".join(letters[batch[0]] for batch in engine.batches)


class TimedEngine(FakeEngine):
    """Takes a second for every batch, by its own clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def transcribe(
        self, clips: Sequence[Clip], requests: Sequence[ClipRequest] = ()
    ) -> list[Hypothesis | Rejection]:
        results = super().transcribe(clips, requests)
        self.now += 1.0
        return results

    def clock(self) -> float:
        return self.now


async def test_an_interactive_clip_is_in_the_very_next_batch() -> None:
    engine = FakeEngine()
    async with running(engine, batch_seconds=1.0) as batcher:
        engine.gate.clear()
        bulk = asyncio.create_task(batcher.transcribe([clip(BULK)] * 10))
        await entered(engine)
        interactive = asyncio.create_task(
            batcher.transcribe(*asking([clip(INTERACTIVE)], interactive=True))
        )
        await until(lambda: batcher.waiting == 10)
        engine.gate.set()
        await asyncio.gather(bulk, interactive)
    assert classes(engine) == "bi" + "b" * 9


async def test_interactive_clips_share_batches_with_each_other_alone() -> None:
    engine = FakeEngine()
    async with running(engine) as batcher:
        engine.gate.clear()
        first = asyncio.create_task(batcher.transcribe([clip(1)]))
        await entered(engine)
        bulk = asyncio.create_task(batcher.transcribe([clip(1), clip(2)]))
        others = [
            asyncio.create_task(
                batcher.transcribe(*asking([clip(1)], words=words, interactive=True))
            )
            for words in (True, False, False)
        ]
        await until(lambda: batcher.waiting == 5)
        engine.gate.set()
        await asyncio.gather(first, bulk, *others)
    assert engine.batches == [[1000], [1000, 1000], [1000], [2000, 1000]]
    assert engine.words == [False, False, True, False]


async def test_bulk_that_comes_during_a_round_is_the_next_round() -> None:
    engine = FakeEngine()
    async with running(engine, batch_seconds=4.0) as batcher:
        engine.gate.clear()
        first = asyncio.create_task(batcher.transcribe([clip(4), clip(2)]))
        await entered(engine)
        others = [
            asyncio.create_task(batcher.transcribe([clip(seconds)])) for seconds in (1, 3, 1, 2, 1)
        ]
        await until(lambda: batcher.waiting == 6)
        engine.gate.set()
        await asyncio.gather(first, *others)
    assert engine.batches == [[4000], [2000], [3000], [2000, 1000], [1000, 1000]]


async def test_classes_that_both_wait_share_the_time_of_the_engine() -> None:
    engine = TimedEngine()
    async with running(
        engine, batch_seconds=1.0, interactive_share=0.75, clock=engine.clock
    ) as batcher:
        engine.gate.clear()
        bulk = asyncio.create_task(batcher.transcribe([clip(BULK)] * 20))
        await entered(engine)
        interactive = asyncio.create_task(
            batcher.transcribe(*asking([clip(INTERACTIVE)] * 30, interactive=True))
        )
        await until(lambda: batcher.waiting == 49)
        engine.gate.set()
        await asyncio.gather(bulk, interactive)
    both = classes(engine)[1:40]
    assert both.count("i") == pytest.approx(0.75 * len(both), abs=1)
    assert all(both[first : first + 8].count("b") >= 1 for first in range(len(both) - 8))


async def test_the_bulk_gets_its_share_while_interactive_clips_never_stop() -> None:
    engine = TimedEngine()
    async with running(
        engine, batch_seconds=1.0, interactive_share=0.75, clock=engine.clock
    ) as batcher:
        bulk_done = asyncio.Event()

        async def keep_asking() -> None:
            while not bulk_done.is_set():
                await batcher.transcribe(*asking([clip(INTERACTIVE)], interactive=True))

        engine.gate.clear()
        users = [asyncio.create_task(keep_asking()) for _ in range(3)]
        await entered(engine)
        bulk = asyncio.create_task(batcher.transcribe([clip(BULK)] * 10))
        await until(lambda: batcher.waiting == 12)
        engine.gate.set()
        await bulk
        bulk_done.set()
        await asyncio.gather(*users)
    until_done = classes(engine).rindex("b")
    # a second of each class may be out of balance, and one batch ran before the bulk came
    assert until_done <= 1 + 4 * 10 + 4


async def test_clips_of_a_cancelled_interactive_call_never_reach_the_engine() -> None:
    engine = FakeEngine()
    async with running(engine) as batcher:
        engine.gate.clear()
        bulk = asyncio.create_task(batcher.transcribe([clip(6), clip(5)]))
        await entered(engine)
        cancelled = asyncio.create_task(
            batcher.transcribe(*asking([clip(1), clip(2)], interactive=True))
        )
        kept = asyncio.create_task(batcher.transcribe(*asking([clip(3)], interactive=True)))
        await until(lambda: batcher.waiting == 4)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        engine.gate.set()
        await asyncio.gather(bulk, kept)
        assert batcher.stalled_s == 0.0
    assert engine.batches == [[6000], [3000], [5000]]


async def test_clips_of_a_call_cancelled_in_mid_round_never_reach_the_engine() -> None:
    engine = FakeEngine()
    async with running(engine, batch_seconds=1.0) as batcher:
        engine.gate.clear()
        cancelled = asyncio.create_task(batcher.transcribe([clip(BULK)] * 10))
        await entered(engine)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        engine.gate.set()
        await batcher.transcribe([clip(1)])
        assert batcher.waiting == 0
        assert batcher.stalled_s == 0.0
    assert engine.batches == [[900], [1000]]


async def test_a_broken_engine_fails_both_classes_planned_or_not() -> None:
    engine = FakeEngine()
    may_break = threading.Event()
    async with running(engine, batch_seconds=3.0) as batcher:
        engine.gate.clear()
        engine.fault = lambda clips: len(clips[0]) != 1500 and may_break.wait(30)
        first = asyncio.create_task(batcher.transcribe([clip(1.5)]))
        await entered(engine)
        in_hand = asyncio.create_task(batcher.transcribe([clip(3)]))
        planned = asyncio.create_task(batcher.transcribe([clip(2)]))
        await until(lambda: batcher.waiting == 2)
        engine.gate.set()
        await first
        await entered(engine)
        waiting = asyncio.create_task(batcher.transcribe(*asking([clip(1)], interactive=True)))
        await until(lambda: batcher.waiting == 2)
        may_break.set()
        with pytest.raises(BrokenOverCallError):
            await in_hand
        for call in (planned, waiting):
            with pytest.raises(EngineBrokenError) as raised:
                await call
            assert not isinstance(raised.value, BrokenOverCallError)
        assert batcher.waiting == 0


async def test_each_class_has_a_limit_of_its_own_and_what_is_planned_counts() -> None:
    engine = FakeEngine()
    async with running(engine, batch_seconds=1.0, max_waiting=3) as batcher:
        engine.gate.clear()
        bulk = asyncio.create_task(batcher.transcribe([clip(1)] * 3))
        await entered(engine)
        assert batcher.waiting == 2
        with pytest.raises(QueueFullError, match="2 bulk clips"):
            await batcher.transcribe([clip(1)] * 2)
        interactive = asyncio.create_task(
            batcher.transcribe(*asking([clip(1)] * 3, interactive=True))
        )
        await until(lambda: batcher.waiting == 5)
        with pytest.raises(QueueFullError, match="3 interactive clips"):
            await batcher.transcribe(*asking([clip(1)], interactive=True))
        engine.gate.set()
        assert [len(part) for part in await asyncio.gather(bulk, interactive)] == [3, 3]


async def test_closing_fails_both_classes_planned_or_not() -> None:
    engine = FakeEngine()
    async with running(engine, batch_seconds=1.0) as batcher:
        engine.gate.clear()
        bulk = asyncio.create_task(batcher.transcribe([clip(1)] * 2))
        await entered(engine)
        interactive = asyncio.create_task(batcher.transcribe(*asking([clip(1)], interactive=True)))
        await until(lambda: batcher.waiting == 2)
        batcher.close()
        for call in (bulk, interactive):
            with pytest.raises(EngineBrokenError):
                await call
        assert batcher.waiting == 0


def test_a_share_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="share"):
        Batcher(FakeEngine, batch_seconds=1.0, interactive_share=0.0)
