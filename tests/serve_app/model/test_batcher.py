"""The batcher: batches, the thread of the engine, and what goes wrong."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from schemas.failures import ErrorCode
from schemas.requests import ClipRequest
from serve_app.audio.clip import Clip
from serve_app.engines.base import Hypothesis, Rejection
from serve_app.engines.errors import EngineError
from serve_app.model.batcher import Batcher, BrokenOverCallError, EngineBrokenError, QueueFullError
from tests.serve_app.model.fake_engine import RATE, FakeEngine, asking, clip, entered, running
from tests.waiting import until


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


async def test_clips_of_an_engine_that_pads_them_count_as_padded() -> None:
    engine = FakeEngine()
    engine.min_samples = 3 * RATE
    async with running(engine, batch_seconds=6.0) as batcher:
        await batcher.transcribe([clip(seconds) for seconds in (1, 2, 1, 3, 5)])
    assert engine.batches == [[5000], [1000, 2000], [1000, 3000]]


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
        await batcher.transcribe(*asking([clip(1)], words=True))
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
    assert results[1].code is ErrorCode.MODEL_FAULT
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


async def test_a_wrong_number_of_results_never_mixes_clips_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = FakeEngine()
    honest = engine.transcribe
    monkeypatch.setattr(engine, "transcribe", lambda clips, requests: honest(clips)[:2])
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
    """One that says what it is to listen for, and in which language."""

    def transcribe(
        self, clips: Sequence[Clip], requests: Sequence[ClipRequest] = ()
    ) -> list[Hypothesis | Rejection]:
        super().transcribe(clips, requests)
        return [Hypothesis(text=",".join([*each.phrases, str(each.language)])) for each in requests]


async def test_each_clip_has_its_own_request_in_any_batch() -> None:
    async with running(ListeningEngine()) as batcher:
        clips = [clip(3.0), clip(1.0), clip(2.0)]
        requests = [
            ClipRequest(phrases=("a", "b"), language="de"),
            ClipRequest(),
            ClipRequest(phrases=("c",), interactive=True),
        ]
        outcomes = await batcher.transcribe(clips, requests)
        texts = [each.result.text for each in outcomes if isinstance(each.result, Hypothesis)]
        assert texts == ["a,b,de", "None", "c,None"]


async def test_a_clip_without_a_request_gets_the_default() -> None:
    async with running(ListeningEngine()) as batcher:
        [outcome] = await batcher.transcribe([clip(1.0)])
        assert outcome.result == Hypothesis(text="None")
        with pytest.raises(ValueError, match="shorter"):
            await batcher.transcribe([clip(1.0)] * 2, [ClipRequest()])
