"""Dynamic batching: an asyncio front end, and one thread that runs the engine.

Whenever the engine has run out of batches, the thread groups all waiting clips into batches of
similar length (`serve_app.engines.batch_plan`) and runs those. Nothing waits for a batch to fill:
under load the batches grow by themselves, without load a clip starts at once. Interactive clips
have separate batches, which go ahead of bulk batches (`serve_app.model.fair_queue`).
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from time import monotonic

import msgspec

from schemas.requests import DEFAULT_REQUEST, ClipRequest
from serve_app.audio.clip import Clip
from serve_app.engines.base import Engine, Hypothesis, Rejection
from serve_app.engines.batch_plan import plan_batches
from serve_app.engines.calling import call_isolated
from serve_app.engines.errors import EngineError
from serve_app.engines.load import check_engine
from serve_app.model.fair_queue import FairQueue
from serve_app.model.meter import Batch
from serve_app.model.protocol import Outcome
from serve_app.system.logs import location_of

logger = logging.getLogger(__name__)


class QueueFullError(RuntimeError):
    """The queue has no room for the clips of a call; try again later."""


class EngineBrokenError(RuntimeError):
    """The engine no longer works: it fails on any clip, hangs, or its thread has ended."""


class BrokenOverCallError(EngineBrokenError):
    """The engine broke while it worked on clips of this call: one of them may be the cause."""


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
    request: ClipRequest
    arrived: float


def _kind(item: _Waiting) -> tuple[bool, bool]:
    """Clips of the same kind can be in a batch; kinds that cost less come first."""
    return not item.request.identify, item.request.words


class Batcher:
    """Owns an engine and the only thread that may use it.

    Args:
        load: creates the engine; called on the engine's thread.
        batch_seconds: padded seconds (clips x longest clip) in one batch.
        max_waiting: clips of each class, interactive and bulk, that may wait; more are refused.
        interactive_share: share of the engine's time for interactive clips while bulk clips wait;
            above 0. At 1, bulk clips run only while no interactive clips wait.
        measure: told of each batch, on the engine's thread.
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
        measure: Callable[[Batch], None] = lambda batch: None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._load = load
        self._batch_seconds = batch_seconds
        self._max_waiting = max_waiting
        self._measure = measure
        self._clock = clock
        self._queue = FairQueue(self._plan, interactive_share=interactive_share)
        self._wake = threading.Condition()
        self._closed = False
        self._broken: EngineBrokenError | None = None
        self._broke_over: set[_Call] = set()
        self._unfinished = 0  # clips waiting or in the engine
        self._progress = clock()  # when the engine was last idle or finished a batch
        self._ready: Future[Engine] = Future()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    async def start(self) -> Engine:
        """Load the engine and check it on a built-in clip.

        Returns:
            The engine, for its attributes only: its methods belong to the thread.

        Raises:
            EngineError: it cannot be loaded or does not work.
        """
        self._thread.start()
        return await asyncio.wrap_future(self._ready)

    async def transcribe(
        self,
        clips: Sequence[Clip],
        requests: Sequence[ClipRequest] = (),
    ) -> list[Outcome]:
        """One outcome per clip, in order; returns when the last of them is ready.

        If it is cancelled, its clips that still wait never reach the engine.

        Args:
            clips: at the engine's sample rate.
            requests: one per clip; empty for the defaults. Interactive clips go ahead of bulk
                clips, within their share of the engine's time; a running batch is not interrupted.

        Raises:
            QueueFullError: the queue of a class has no room for its clips; none was taken.
            EngineBrokenError: the engine broke before all clips were done; `BrokenOverCallError`
                if it was working on some of them at that moment.
        """
        if not clips:
            return []
        call = _Call(len(clips))
        now = self._clock()
        pairs = zip(clips, requests or [DEFAULT_REQUEST] * len(clips), strict=True)
        items = [_Waiting(call, index, *pair, now) for index, pair in enumerate(pairs)]
        classes = {
            interactive: [item for item in items if item.request.interactive is interactive]
            for interactive in (True, False)
        }
        with self._wake:
            if self._broken is not None:
                raise self._broken
            for interactive, some in classes.items():
                self._check_room(len(some), interactive=interactive)
            if not self._unfinished:
                self._progress = now
            self._unfinished += len(items)
            for interactive, some in classes.items():
                self._queue.put(some, interactive=interactive)
            self._wake.notify()
        return await call.future

    def _check_room(self, count: int, *, interactive: bool) -> None:
        waiting = self._queue.waiting(interactive=interactive)
        if count and waiting + count > self._max_waiting:
            kind = "interactive" if interactive else "bulk"
            raise QueueFullError(
                f"{waiting} {kind} clips are waiting already; {count} more do not fit"
            )

    @property
    def waiting(self) -> int:
        """Number of clips in the queue, of both classes, without those in the engine."""
        return len(self._queue)

    @property
    def stalled_s(self) -> float:
        """Seconds without progress while there is work; 0 without work."""
        with self._wake:
            return self._clock() - self._progress if self._unfinished else 0.0

    def check(self, limit_s: float) -> None:
        """Check that the engine works and makes progress.

        Args:
            limit_s: longest time without a finished batch while there is work, in seconds.

        Raises:
            EngineBrokenError: the engine is broken or makes no progress.
        """
        if self._broken is not None:
            raise self._broken
        if not self._thread.is_alive():
            raise EngineBrokenError("the engine's thread has ended")
        stalled = self.stalled_s
        if stalled > limit_s:
            raise EngineBrokenError(
                f"no batch finished for {stalled:.0f} s although clips are waiting"
            )

    def close(self) -> None:
        """Refuse new clips and fail the waiting ones; the batch in the engine is finished."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._give_up(EngineBrokenError("the model is shutting down"), [])

    # The methods below run on the engine's thread.

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
        """Take the next batch; blocks until a clip waits. Empty when closed."""
        with self._wake:
            while not self._closed:
                if batch := self._queue.take():
                    return batch
                self._wake.wait()
            return []

    def _plan(self, clips: list[_Waiting]) -> list[list[_Waiting]]:
        """Group clips into batches of a kind: languages first, then texts, then words."""
        limit = self._batch_seconds * self._engine.sample_rate
        shortest = getattr(self._engine, "min_samples", 0)
        batches: list[list[_Waiting]] = []
        for kind in sorted(set(map(_kind, clips))):
            chosen = [item for item in clips if _kind(item) == kind]
            plan = plan_batches([max(len(item.clip), shortest) for item in chosen], limit)
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
        if live:
            rate, limit_s = self._engine.sample_rate, self._batch_seconds
            self._tell(_told(live, results, start, seconds, rate=rate, limit_s=limit_s))
        for call, outcomes in deliveries.items():
            _post(call, call.deliver, outcomes)

    def _tell(self, batch: Batch) -> None:
        try:
            self._measure(batch)
        except Exception as error:  # clips must not suffer from it
            logger.error("a batch could not be measured: %s", location_of(error))

    def _transcribe(self, batch: Sequence[_Waiting]) -> list[Hypothesis | Rejection]:
        """Run the engine on a batch; see `call_isolated`.

        Raises:
            EngineBrokenError: the engine fails on any clip.
        """
        try:
            return call_isolated(
                self._engine,
                [item.clip for item in batch],
                [item.request for item in batch],
                on_call=self._note_progress,
            )
        except EngineError as error:
            self._broke_over = {item.call for item in batch}
            raise EngineBrokenError(str(error)) from error

    def _note_progress(self) -> None:
        with self._wake:
            self._progress = self._clock()

    def _give_up(self, error: EngineBrokenError, clips: list[_Waiting]) -> None:
        """Refuse new clips from now on, and fail `clips` and the waiting ones."""
        with self._wake:
            self._broken = error
            clips = [*clips, *self._queue.drain()]
        over = BrokenOverCallError(str(error))
        for call in {item.call for item in clips}:
            _post(call, call.fail, over if call in self._broke_over else error)


def _told(
    batch: Sequence[_Waiting],
    results: Sequence[Hypothesis | Rejection],
    start: float,
    work_s: float,
    *,
    rate: int,
    limit_s: float,
) -> Batch:
    """What is measured of a batch."""
    return Batch(
        seconds=[len(item.clip) / rate for item in batch],
        results=results,
        queue_s=start - min(item.arrived for item in batch),
        work_s=work_s,
        limit_s=limit_s,
        traced=[(item.request.trace, start - item.arrived) for item in batch if item.request.trace],
    )


def _post(call: _Call, deliver: Callable[..., None], what: object) -> None:
    """Run `deliver(what)` on the call's event loop, unless that is closed already."""
    try:
        call.loop.call_soon_threadsafe(deliver, what)
    except RuntimeError:
        logger.debug("dropped a result: the event loop of its call is closed")
