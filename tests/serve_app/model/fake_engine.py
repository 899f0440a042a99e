"""An engine that the test holds, and a batcher that runs it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from time import monotonic

import numpy as np

from schemas.requests import ClipRequest
from serve_app.audio.clip import Clip
from serve_app.engines.base import Hypothesis, Rejection
from serve_app.model.batcher import Batcher
from tests.asking import alike

RATE = 1000


def clip(seconds: float, value: float = 0.0) -> Clip:
    return np.full(int(seconds * RATE), value, np.float32)


def asking(clips: list[Clip], **options: bool) -> tuple[list[Clip], list[ClipRequest]]:
    """Arguments of `transcribe`: `clips`, and the same request for each."""
    return clips, alike(clips, **options)


class FakeEngine:
    """Answers with the length of the clip; `gate` holds it, `fault` makes it raise."""

    sample_rate = RATE
    sha256 = "s"
    device = "cpu"
    min_samples = 0

    def __init__(self) -> None:
        self.min_samples = 0
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.batches: list[list[int]] = []
        self.threads: set[int] = set()
        self.fault: Callable[[Sequence[Clip]], bool] = lambda clips: False
        self.words: list[bool] = []

    def transcribe(
        self, clips: Sequence[Clip], requests: Sequence[ClipRequest] = ()
    ) -> list[Hypothesis | Rejection]:
        self.threads.add(threading.get_ident())
        self.batches.append([len(each) for each in clips])
        self.words.append(any(each.words for each in requests))
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
