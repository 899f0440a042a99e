"""The drain-when-idle batcher: an asyncio front, and one thread that runs the engine.

Whenever the engine has run out of batches the thread cuts every clip that waits into batches of
similar length (`serve_app.batching`), and runs those. Nothing waits for a batch to fill: under
load the batches grow by themselves, without load a clip starts at once. Interactive clips have
batches of their own, which go ahead of the bulk (`serve_app.queueing`).
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from time import monotonic

import msgspec

from serve_app.batching import plan_batches
from serve_app.engines.base import Clip, Engine, Hypothesis, Phrases, Rejection, takes_phrases
from serve_app.engines.errors import EngineError
from serve_app.engines.isolation import run_isolated
from serve_app.engines.load import check_engine
from serve_app.queueing import FairQueue

logger = logging.getLogger(__name__)


class QueueFullError(RuntimeError):
    """More clips wait than the queue may hold; try again later."""


class EngineBrokenError(RuntimeError):
    """The engine does not work any more: it fails on any clip, hangs, or its thread has ended."""


class BrokenOverCallError(EngineBrokenError):
    """The engine broke while it worked on clips of this call: one of them may be why."""


class Outcome(msgspec.Struct, frozen=True):
    """What became of one clip.

    Attributes:
        result: what the engine says about it.
        queue_ms: from its arrival to the start of its batch.
        model_ms: its share of its batch's wall time, by length.
    """

    result: Hypothesis | Rejection
    queue_ms: float
    model_ms: float


class _Call:
    """One call of `transcribe`, waiting for the last of its clips. Belongs to the event loop."""

    def __init__(self, size: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[list[Outcome]] = self.loop.create_future()
        self.outcomes: list[Outcome | None] = [None] * size
        self.missing = size

    def deliver(self, outcomes: list[tuple[int, Outcome]]) -> None:
        for index, outcome in outcomes:
            self.outcomes[index] = outcome
        self.missing -= len(outcomes)
        if not self.missing and not self.future.done():
            self.future.set_result([outcome for outcome in self.outcomes if outcome is not None])

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class _Waiting(msgspec.Struct):
    """A clip in the queue."""

    call: _Call
    index: int
    clip: Clip
    words: bool
    phrases: Phrases
    arrived: float


class Batcher:
    """Owns an engine and the one thread that may touch it.

    Args:
        load: makes the engine; called on the engine's thread.
        batch_seconds: padded seconds (clips x longest clip) in one batch.
        max_waiting: clips of each class, interactive and bulk, that may wait; more are refused.
        interactive_share: of the engine's time, for interactive clips while bulk clips wait;
            above 0. At 1 the bulk gets only what they leave.
        clock: the time in seconds, from any start.

    Raises:
        ValueError: `interactive_share` is not above 0 and at most 1.
    """

    def __init__(
        self,
        load: Callable[[], Engine],
        *,
        batch_seconds: float,
        max_waiting: int = 4096,
        interactive_share: float = 0.75,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._load = load
        self._batch_seconds = batch_seconds
        self._max_waiting = max_waiting
        self._clock = clock
        self._queue = FairQueue(self._plan, interactive_share=interactive_share)
        self._wake = threading.Condition()
        self._closed = False
        self._broken: EngineBrokenError | None = None
        self._broke_over: set[_Call] = set()
        self._unfinished = 0  # clips waiting or in the engine
        self._progress = clock()  # when there last was nothing to do, or a batch ended
        self._ready: Future[Engine] = Future()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    async def start(self) -> Engine:
        """Load the engine and check it on a built-in clip.

        Returns it for its attributes only: its methods belong to the thread.

        Raises:
            EngineError: it cannot be loaded or does not work.
        """
        self._thread.start()
        return await asyncio.wrap_future(self._ready)

    async def transcribe(
        self,
        clips: Sequence[Clip],
        *,
        words: bool = False,
        phrases: Sequence[Phrases] = (),
        interactive: bool = False,
    ) -> list[Outcome]:
        """One outcome per clip, in order; returns when the last of them is there.

        If it is cancelled, those of its clips that still wait never reach the engine.

        Args:
            words: whether words with times are wanted.
            phrases: of each clip, for an engine that takes them; empty where no clip has any.
            interactive: whether somebody waits: these clips go ahead of the others, though never
                ahead of a batch that runs, and within their share of the engine's time.

        Raises:
            QueueFullError: the clips do not fit among those of their class; none was taken.
            EngineBrokenError: the engine broke before all of the clips were done;
                `BrokenOverCallError` if it had some of them at that moment.
        """
        if not clips:
            return []
        call = _Call(len(clips))
        now = self._clock()
        items = [
            _Waiting(call, index, clip, words, own, now)
            for index, (clip, own) in enumerate(
                zip(clips, phrases or [()] * len(clips), strict=True)
            )
        ]
        with self._wake:
            if self._broken is not None:
                raise self._broken
            waiting = self._queue.waiting(interactive=interactive)
            if waiting + len(items) > self._max_waiting:
                kind = "interactive" if interactive else "bulk"
                raise QueueFullError(f"{waiting} {kind} clips wait already")
            if not self._unfinished:
                self._progress = now
            self._unfinished += len(items)
            self._queue.put(items, interactive=interactive)
            self._wake.notify()
        return await call.future

    @property
    def waiting(self) -> int:
        """Clips of both classes in the queue, those in the engine not counted."""
        return len(self._queue)

    @property
    def stalled_s(self) -> float:
        """Seconds since the last sign of progress while there is work; 0 without work."""
        with self._wake:
            return self._clock() - self._progress if self._unfinished else 0.0

    def check(self, limit_s: float) -> None:
        """Raise `EngineBrokenError` if the engine is broken or has not finished a batch for
        `limit_s` seconds although there was work."""
        if self._broken is not None:
            raise self._broken
        if not self._thread.is_alive():
            raise EngineBrokenError("the engine's thread has ended")
        stalled = self.stalled_s
        if stalled > limit_s:
            raise EngineBrokenError(f"no batch finished for {stalled:.0f} s")

    def close(self) -> None:
        """Refuse new clips and fail those that wait; the batch in the engine is finished."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._give_up(EngineBrokenError("the model is shutting down"), [])

    # From here on: the engine's thread.

    def _run(self) -> None:
        try:
            self._engine = self._load()
            check_engine(self._engine)
        except Exception as error:
            self._ready.set_exception(error)
            return
        self._ready.set_result(self._engine)
        while batch := self._take():
            try:
                self._run_batch(batch)
            except EngineBrokenError as error:
                logger.error("engine broken: %s", error, exc_info=error.__cause__)
                self._give_up(error, batch)
                return

    def _take(self) -> list[_Waiting]:
        """The batch to run next; blocks until something waits. Empty when closed."""
        with self._wake:
            while not self._closed:
                if batch := self._queue.take():
                    return batch
                self._wake.wait()
            return []

    def _plan(self, clips: list[_Waiting]) -> list[list[_Waiting]]:
        """Cut clips into batches; those with words after those without."""
        limit = self._batch_seconds * self._engine.sample_rate
        batches: list[list[_Waiting]] = []
        for words in (False, True):
            chosen = [item for item in clips if item.words is words]
            plan = plan_batches([len(item.clip) for item in chosen], limit)
            batches += [[chosen[index] for index in batch] for batch in plan]
        return batches

    def _run_batch(self, batch: list[_Waiting]) -> None:
        live = [item for item in batch if not item.call.future.cancelled()]
        start = self._clock()
        results = self._transcribe(live) if live else []
        seconds = self._clock() - start
        with self._wake:
            self._unfinished -= len(batch)
            self._queue.charge(seconds)
        self._note_progress()
        samples = sum(len(item.clip) for item in live) or 1
        deliveries: dict[_Call, list[tuple[int, Outcome]]] = {}
        for item, result in zip(live, results, strict=True):
            outcome = Outcome(
                result,
                queue_ms=(start - item.arrived) * 1000,
                model_ms=seconds * 1000 * len(item.clip) / samples,
            )
            deliveries.setdefault(item.call, []).append((item.index, outcome))
        for call, outcomes in deliveries.items():
            _post(call, call.deliver, outcomes)

    def _transcribe(self, batch: Sequence[_Waiting]) -> list[Hypothesis | Rejection]:
        """The engine's results. If it raises, the batch is halved until the clip at fault is
        alone, and only that one is rejected; unless the engine turns out to be broken."""
        failed = False

        def run(items: Sequence[_Waiting]) -> list[Hypothesis | Rejection]:
            nonlocal failed
            self._note_progress()
            try:
                clips = [item.clip for item in items]
                words = items[0].words
                phrases = [item.phrases for item in items]
                if any(phrases) and takes_phrases(self._engine):
                    results = self._engine.transcribe(clips, words=words, phrases=phrases)
                else:
                    results = self._engine.transcribe(clips, words=words)
                if len(results) != len(items):
                    raise RuntimeError(f"{len(results)} results for {len(items)} clips")
                return results
            except Exception as error:
                logger.warning("engine failed on %d clips: %s", len(items), type(error).__name__)
                failed = True
                raise

        try:
            results = run_isolated(run, batch)
            if failed:
                check_engine(self._engine)
        except EngineError as error:
            self._broke_over = {item.call for item in batch}
            raise EngineBrokenError(str(error)) from error
        return results

    def _note_progress(self) -> None:
        with self._wake:
            self._progress = self._clock()

    def _give_up(self, error: EngineBrokenError, clips: list[_Waiting]) -> None:
        """Refuse what comes from now on, and fail `clips` and those that wait."""
        with self._wake:
            self._broken = error
            clips = [*clips, *self._queue.drain()]
        over = BrokenOverCallError(str(error))
        for call in {item.call for item in clips}:
            _post(call, call.fail, over if call in self._broke_over else error)


def _post(call: _Call, deliver: Callable[..., None], what: object) -> None:
    """Run `deliver(what)` on the call's event loop, unless that is closed already."""
    try:
        call.loop.call_soon_threadsafe(deliver, what)
    except RuntimeError:
        logger.debug("a result came after its event loop was closed")
