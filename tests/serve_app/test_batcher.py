from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from time import monotonic

import numpy as np
import pytest

from schemas.failures import ErrorCode
from serve_app.batcher import Batcher, BrokenOverCallError, EngineBrokenError, QueueFullError
from serve_app.engines.base import Clip, Hypothesis, Phrases, Rejection
from serve_app.engines.errors import EngineError

RATE = 1000


def clip(seconds: float, value: float = 0.0) -> Clip:
    return np.full(int(seconds * RATE), value, np.float32)


class FakeEngine:
    """Answers with the length of the clip; `gate` holds it, `fault` makes it raise."""

    sample_rate = RATE
    sha256 = "s"
    device = "cpu"

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.batches: list[list[int]] = []
        self.threads: set[int] = set()
        self.fault: Callable[[Sequence[Clip]], bool] = lambda clips: False
        self.words: list[bool] = []

    def transcribe(
        self, clips: Sequence[Clip], *, words: bool = False
    ) -> list[Hypothesis | Rejection]:
        self.threads.add(threading.get_ident())
        self.batches.append([len(each) for each in clips])
        self.words.append(words)
        self.entered.set()
        assert self.gate.wait(30)
        if self.fault(clips):
            raise RuntimeError("told to fail")
        return [Hypothesis(text=str(len(each))) for each in clips]


@asynccontextmanager
async def running(
    engine: FakeEngine,
    batch_seconds: float = 10.0,
    max_waiting: int = 100,
    interactive_share: float = 0.75,
    clock: Callable[[], float] = monotonic,
) -> AsyncIterator[Batcher]:
    batcher = Batcher(
        lambda: engine,
        batch_seconds=batch_seconds,
        max_waiting=max_waiting,
        interactive_share=interactive_share,
        clock=clock,
    )
    await batcher.start()
    engine.batches.clear()
    engine.words.clear()
    engine.entered.clear()
    try:
        yield batcher
    finally:
        engine.gate.set()
        batcher.close()


async def entered(engine: FakeEngine) -> None:
    assert await asyncio.to_thread(engine.entered.wait, 10)
    engine.entered.clear()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_outcomes_come_in_order_with_their_times() -> None:
    engine = FakeEngine()
    async with running(engine) as batcher:
        lengths = [0.3, 0.1, 0.2]
        outcomes = await batcher.transcribe([clip(seconds) for seconds in lengths])
    assert [outcome.result for outcome in outcomes] == [
        Hypothesis(text=text) for text in ("300", "100", "200")
    ]
    assert all(outcome.queue_ms >= 0 for outcome in outcomes)
    shares = [outcome.model_ms for outcome in outcomes]
    assert shares[0] == pytest.approx(3 * shares[1])


async def test_what_waits_while_the_engine_works_becomes_one_batch() -> None:
    engine = FakeEngine()
    async with running(engine) as batcher:
        engine.gate.clear()
        first = asyncio.create_task(batcher.transcribe([clip(1)]))
        await entered(engine)
        others = [asyncio.create_task(batcher.transcribe([clip(1)])) for _ in range(5)]
        await until(lambda: batcher.waiting == 5)
        engine.gate.set()
        await asyncio.gather(first, *others)
    assert [len(batch) for batch in engine.batches] == [1, 5]


async def test_batches_keep_to_the_padded_seconds() -> None:
    engine = FakeEngine()
    async with running(engine, batch_seconds=4.0) as batcher:
        await batcher.transcribe([clip(seconds) for seconds in (1, 2, 1, 2, 1, 1, 9)])
    assert all(len(batch) * max(batch) <= 4000 or len(batch) == 1 for batch in engine.batches)
    assert len(engine.batches) == 3


async def test_the_engine_lives_on_one_thread_of_its_own() -> None:
    engine = FakeEngine()
    loaded: list[int] = []

    def load() -> FakeEngine:
        loaded.append(threading.get_ident())
        return engine

    batcher = Batcher(load, batch_seconds=1)
    await batcher.start()
    await asyncio.gather(*(batcher.transcribe([clip(1)]) for _ in range(3)))
    batcher.close()
    assert engine.threads == set(loaded)
    assert threading.get_ident() not in engine.threads


async def test_a_call_does_not_wait_for_the_clips_of_another() -> None:
    engine = FakeEngine()
    short_may_end = threading.Event()

    def hold_short(clips: Sequence[Clip]) -> bool:
        return len(clips[0]) == 500 and not short_may_end.wait(30)

    async with running(engine, batch_seconds=1.0) as batcher:
        engine.gate.clear()
        blocker = asyncio.create_task(batcher.transcribe([clip(1)]))
        await entered(engine)
        engine.fault = hold_short
        long = asyncio.create_task(batcher.transcribe([clip(1)]))
        short = asyncio.create_task(batcher.transcribe([clip(0.5)]))
        await until(lambda: batcher.waiting == 2)
        engine.gate.set()
        await asyncio.gather(blocker, long)
        assert not short.done()
        short_may_end.set()
        assert len(await short) == 1


async def test_words_are_asked_for_by_call() -> None:
    engine = FakeEngine()
    async with running(engine) as batcher:
        await batcher.transcribe([clip(1)], words=True)
        await batcher.transcribe([clip(1)])
    assert engine.words == [True, False]


async def test_a_full_queue_refuses_and_keeps_what_it_has() -> None:
    engine = FakeEngine()
    async with running(engine, max_waiting=2) as batcher:
        engine.gate.clear()
        running_call = asyncio.create_task(batcher.transcribe([clip(1)]))
        await entered(engine)
        waiting = asyncio.create_task(batcher.transcribe([clip(1), clip(1)]))
        await until(lambda: batcher.waiting == 2)
        with pytest.raises(QueueFullError):
            await batcher.transcribe([clip(1)])
        engine.gate.set()
        assert [len(part) for part in await asyncio.gather(running_call, waiting)] == [1, 2]


async def test_clips_of_a_cancelled_call_never_reach_the_engine() -> None:
    engine = FakeEngine()
    async with running(engine) as batcher:
        engine.gate.clear()
        first = asyncio.create_task(batcher.transcribe([clip(1)]))
        await entered(engine)
        cancelled = asyncio.create_task(batcher.transcribe([clip(2), clip(2)]))
        kept = asyncio.create_task(batcher.transcribe([clip(3)]))
        await until(lambda: batcher.waiting == 3)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        engine.gate.set()
        await asyncio.gather(first, kept)
        assert batcher.stalled_s == 0.0
    assert engine.batches == [[1000], [3000]]


async def test_a_clip_that_makes_the_engine_raise_is_rejected_alone() -> None:
    engine = FakeEngine()
    async with running(engine) as batcher:
        engine.fault = lambda clips: any(each[0] == 0.5 for each in clips)
        clips = [clip(0.1), clip(0.1, 0.5), *[clip(0.1)] * 5]
        outcomes = await batcher.transcribe(clips)
        batcher.check(limit_s=60)
    results = [outcome.result for outcome in outcomes]
    assert isinstance(results[1], Rejection)
    assert results[1].code is ErrorCode.MODEL_REJECTED
    assert [type(each) for index, each in enumerate(results) if index != 1] == [Hypothesis] * 6


async def test_an_engine_that_fails_on_everything_is_broken() -> None:
    engine = FakeEngine()
    async with running(engine) as batcher:
        engine.fault = lambda clips: True
        with pytest.raises(BrokenOverCallError):
            await batcher.transcribe([clip(1)] * 4)
        with pytest.raises(EngineBrokenError):
            batcher.check(limit_s=60)
        with pytest.raises(EngineBrokenError) as later:
            await batcher.transcribe([clip(1)])
        assert not isinstance(later.value, BrokenOverCallError)  # it was never in the engine


async def test_only_what_the_engine_had_in_hand_is_under_suspicion() -> None:
    engine = FakeEngine()
    async with running(engine) as batcher:
        engine.gate.clear()
        engine.fault = lambda clips: True
        in_hand = asyncio.create_task(batcher.transcribe([clip(1)]))
        await entered(engine)
        waiting = asyncio.create_task(batcher.transcribe([clip(1)]))
        await until(lambda: batcher.waiting == 1)
        engine.gate.set()
        with pytest.raises(BrokenOverCallError):
            await in_hand
        with pytest.raises(EngineBrokenError) as raised:
            await waiting
        assert not isinstance(raised.value, BrokenOverCallError)


async def test_a_wrong_number_of_results_never_mixes_clips_up() -> None:
    engine = FakeEngine()
    honest = engine.transcribe
    engine.transcribe = lambda clips, words=False: honest(clips)[:2]  # type: ignore[method-assign]
    async with running(engine) as batcher:
        outcomes = await batcher.transcribe([clip(0.1), clip(0.2), clip(0.3)])
    texts = [o.result.text for o in outcomes if isinstance(o.result, Hypothesis)]
    assert texts == ["100", "200", "300"]


async def test_an_engine_that_hangs_fails_the_check() -> None:
    engine = FakeEngine()
    async with running(engine) as batcher:
        batcher.check(limit_s=0.01)  # no work, no stall
        engine.gate.clear()
        call = asyncio.create_task(batcher.transcribe([clip(1)]))
        await until(lambda: batcher.stalled_s > 0.05)
        with pytest.raises(EngineBrokenError, match="no batch finished"):
            batcher.check(limit_s=0.05)
        engine.gate.set()
        await call
        batcher.check(limit_s=0.05)


async def test_start_raises_what_loading_raises() -> None:
    def load() -> FakeEngine:
        raise EngineError("no such model")

    with pytest.raises(EngineError, match="no such model"):
        await Batcher(load, batch_seconds=1).start()


async def test_start_refuses_an_engine_that_does_not_work() -> None:
    engine = FakeEngine()
    engine.fault = lambda clips: True
    with pytest.raises(EngineError):
        await Batcher(lambda: engine, batch_seconds=1).start()


async def test_closing_fails_what_waits_and_finishes_what_runs() -> None:
    engine = FakeEngine()
    async with running(engine) as batcher:
        engine.gate.clear()
        in_engine = asyncio.create_task(batcher.transcribe([clip(1)]))
        await entered(engine)
        waiting = asyncio.create_task(batcher.transcribe([clip(1)]))
        await until(lambda: batcher.waiting == 1)
        batcher.close()
        with pytest.raises(EngineBrokenError):
            await waiting
        engine.gate.set()
        assert len(await in_engine) == 1
        with pytest.raises(EngineBrokenError):
            await batcher.transcribe([clip(1)])


async def test_closing_ends_the_thread_of_the_engine() -> None:
    threads: list[threading.Thread] = []

    def load() -> FakeEngine:
        threads.append(threading.current_thread())
        return FakeEngine()

    batcher = Batcher(load, batch_seconds=1)
    await batcher.start()
    batcher.close()
    await until(lambda: not threads[0].is_alive())


async def test_no_clips_no_outcomes() -> None:
    async with running(FakeEngine()) as batcher:
        assert await batcher.transcribe([]) == []


class ListeningEngine(FakeEngine):
    """One that counts what it is to listen for."""

    takes_phrases = True

    def transcribe(
        self, clips: Sequence[Clip], *, words: bool = False, phrases: Sequence[Phrases] = ()
    ) -> list[Hypothesis | Rejection]:
        wanted = phrases or [()] * len(clips)
        super().transcribe(clips, words=words)
        return [Hypothesis(text=",".join(each)) for each in wanted]


async def test_each_clip_has_its_own_phrases_in_any_batch() -> None:
    async with running(ListeningEngine()) as batcher:
        clips = [clip(3.0), clip(1.0), clip(2.0)]
        outcomes = await batcher.transcribe(clips, phrases=[("a", "b"), (), ("c",)])
        texts = [each.result.text for each in outcomes if isinstance(each.result, Hypothesis)]
        assert texts == ["a,b", "", "c"]


async def test_an_engine_that_cannot_listen_is_given_no_phrases() -> None:
    async with running(FakeEngine()) as batcher:
        [outcome] = await batcher.transcribe([clip(1.0)], phrases=[("a",)])
        assert outcome.result == Hypothesis(text="1000")


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
        self, clips: Sequence[Clip], *, words: bool = False
    ) -> list[Hypothesis | Rejection]:
        results = super().transcribe(clips, words=words)
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
        interactive = asyncio.create_task(batcher.transcribe([clip(INTERACTIVE)], interactive=True))
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
            asyncio.create_task(batcher.transcribe([clip(1)], words=words, interactive=True))
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
            batcher.transcribe([clip(INTERACTIVE)] * 30, interactive=True)
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
                await batcher.transcribe([clip(INTERACTIVE)], interactive=True)

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
        cancelled = asyncio.create_task(batcher.transcribe([clip(1), clip(2)], interactive=True))
        kept = asyncio.create_task(batcher.transcribe([clip(3)], interactive=True))
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
        waiting = asyncio.create_task(batcher.transcribe([clip(1)], interactive=True))
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
        interactive = asyncio.create_task(batcher.transcribe([clip(1)] * 3, interactive=True))
        await until(lambda: batcher.waiting == 5)
        with pytest.raises(QueueFullError, match="3 interactive clips"):
            await batcher.transcribe([clip(1)], interactive=True)
        engine.gate.set()
        assert [len(part) for part in await asyncio.gather(bulk, interactive)] == [3, 3]


async def test_closing_fails_both_classes_planned_or_not() -> None:
    engine = FakeEngine()
    async with running(engine, batch_seconds=1.0) as batcher:
        engine.gate.clear()
        bulk = asyncio.create_task(batcher.transcribe([clip(1)] * 2))
        await entered(engine)
        interactive = asyncio.create_task(batcher.transcribe([clip(1)], interactive=True))
        await until(lambda: batcher.waiting == 2)
        batcher.close()
        for call in (bulk, interactive):
            with pytest.raises(EngineBrokenError):
                await call
        assert batcher.waiting == 0


def test_a_share_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="share"):
        Batcher(FakeEngine, batch_seconds=1.0, interactive_share=0.0)
