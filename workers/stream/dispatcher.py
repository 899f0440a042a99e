"""Calling the Router: bounded calls at once, retries, the breaker, and quarantine for suspects.

Everything here runs on one asyncio loop in a thread of its own. Batches come in by `submit`,
finished works go out by the queue `finished`, both from and to the poll thread.

*Suspects* are works whose replica died. They are tried again in quarantine: in halves, one group
at a time, with no other call of this worker under way, and only after a good probe. So an
innocent record that shared a replica with a killer is cleared by its first retry, and a death in
quarantine is evidence against the group alone. A single record that kills a proven replica
`suspect_attempts` times is given up.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from queue import SimpleQueue
from typing import Any

import msgspec
from opentelemetry.trace import SpanKind

from schemas.failures import ErrorCode, RecordError
from schemas.settings import StreamSettings
from schemas.transcript import Transcript
from workers.stream.backend import Backend
from workers.stream.breaker import CircuitBreaker, State
from workers.stream.retry import Backoff, Verdict, halves, judge
from workers.stream.tracing import batch_span
from workers.stream.work import Work

log = logging.getLogger(__name__)

#: Longest wait for an answer to a probe; no answer is a no.
_PROBE_TIMEOUT_S = 10.0
_LOGGED_ATTEMPTS = frozenset(10**power for power in range(1, 10))
#: A call that failed as a whole this often is tried again in halves: one record in it may be what
#: fails the call.
_WHOLE_ATTEMPTS = 3


class Dispatcher:
    """Runs batches through a backend until each work has an outcome.

    Args:
        backend: see `Backend`.
        stream: settings.
        current: whether a work's partition is still ours; others are dropped. Called from the
            dispatch thread.
        topic, group: named in traces.
    """

    def __init__(
        self,
        backend: Backend,
        stream: StreamSettings,
        current: Callable[[Work], bool],
        topic: str = "",
        group: str = "",
    ) -> None:
        self.finished: SimpleQueue[list[Work]] = SimpleQueue()
        self.running = 0
        self.retries = 0
        self._backend = backend
        self._stream = stream
        self._current = current
        self._topic = topic
        self._group = group
        self._backoff = Backoff(stream.retry_initial_s, stream.retry_max_s)
        self._breaker = CircuitBreaker(stream.breaker_failures, self._backoff)
        self._ready: deque[list[Work]] = deque()
        self._submitted = 0  # batches; written by the poll thread
        self._enqueued = 0  # batches; written by the dispatch thread
        self._suspects: deque[list[Work]] = deque()
        self._alone = False  # a quarantined call wants, or has, the backend for itself
        self._quiet = asyncio.Event()  # no call is running
        self._quiet.set()
        self._draining = False
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._calls: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="stream-dispatch", daemon=True)

    # -- called from the poll thread

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, batches: list[list[Work]]) -> None:
        """Take in batches; returns at once."""
        if batches:
            self._submitted += len(batches)
            self._loop.call_soon_threadsafe(self._enqueue, batches)

    @property
    def breaker(self) -> State:
        """State of the circuit breaker; fetching rests while it is not closed."""
        return self._breaker.state

    @property
    def idle_slots(self) -> int:
        """Calls that could start at once, as far as the poll thread can know."""
        busy = self.running + len(self._ready) + self._submitted - self._enqueued
        return max(0, self._stream.batches_in_flight - busy)

    def drain(self) -> None:
        """Start no more calls; `running` goes to zero as those under way end."""
        self._draining = True

    def stop(self) -> None:
        """Abandon everything and end the thread. Blocks for a moment."""
        self._draining = True
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=5)

    # -- the dispatch thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            pending = asyncio.all_tasks(self._loop)
            if pending:
                self._loop.run_until_complete(asyncio.wait(pending, timeout=1))
            self._loop.close()

    def _enqueue(self, batches: list[list[Work]]) -> None:
        self._ready.extend(batches)
        self._enqueued += len(batches)
        self._schedule()

    def _schedule(self) -> None:
        """Start whatever may start now."""
        if self._draining:
            return
        if self._suspects:
            self._ensure("quarantine", self._quarantine)
        if self._breaker.state is State.OPEN:
            self._ensure("recovery", self._recover)
            return
        limit = 1 if self._breaker.state is State.HALF_OPEN else self._stream.batches_in_flight
        while self._ready and self.running < limit and not self._alone:
            works = [work for work in self._ready.popleft() if self._current(work)]
            if works:
                self._started()
                task = self._loop.create_task(self._normal_call(works))
                self._calls.add(task)
                task.add_done_callback(self._calls.discard)

    def _ensure(self, name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = self._tasks.get(name)
        if task is None or task.done():
            self._tasks[name] = self._loop.create_task(run())

    def _started(self) -> None:
        self.running += 1
        self._quiet.clear()

    def _ended(self) -> None:
        self.running -= 1
        if self.running == 0:
            self._quiet.set()
        self._schedule()

    async def _normal_call(self, works: list[Work]) -> None:
        try:
            verdict = await self._call(works)
            if verdict.failed:
                self._failed(works)
            elif verdict.finished:
                self._succeeded()
            self._deliver(verdict.finished)
            if verdict.suspects:
                self._suspects.extend(halves(verdict.suspects))
            if verdict.again:
                self._retry(verdict)
        finally:
            self._ended()

    def _failed(self, works: list[Work]) -> None:
        # a group in its retries may have trouble of its own: only new ones open the breaker
        if self._breaker.state is State.CLOSED and any(work.attempts > 1 for work in works):
            return
        self._breaker.failed(time.monotonic())
        if self._breaker.state is State.OPEN:
            log.warning("the backend fails; fetching rests until it answers again")

    def _succeeded(self) -> None:
        if self._breaker.state is not State.CLOSED:
            log.info("the backend answers again; fetching goes on")
        self._breaker.succeeded()

    def _retry(self, verdict: Verdict) -> None:
        works = verdict.again
        self.retries += len(works)
        attempt = max(work.attempts for work in works)
        split = verdict.split or (verdict.failed and attempt >= _WHOLE_ATTEMPTS)
        if attempt in _LOGGED_ATTEMPTS:
            error = works[0].error
            log.warning("%s: tried %d times (%s)", works[0], attempt, error and error.code)
        for group in halves(works) if split else [works]:
            self._loop.call_later(self._backoff.delay_s(attempt), self._again, group)

    def _again(self, works: list[Work]) -> None:
        self._ready.appendleft(works)  # the oldest hold up the commits
        self._schedule()

    async def _call(self, works: list[Work]) -> Verdict:
        """One call of the backend; never raises for its failures."""
        for work in works:
            work.attempts += 1
        records = [work.record for work in works if work.record is not None]
        results: list[Transcript | RecordError]
        try:
            with batch_span("process", self._topic, self._group, works, SpanKind.CONSUMER):
                results = await asyncio.wait_for(
                    self._backend.transcribe(records), self._stream.call_timeout_s
                )
                if len(results) != len(works):
                    raise RuntimeError(f"{len(results)} results for {len(works)} records")
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            log.warning("a call with %d records failed: %s", len(works), type(error).__name__)
            results = [
                RecordError(id=record.id, code=ErrorCode.ROUTER_UNAVAILABLE, message=reason)
                for record in records
            ]
        return judge(works, results)

    def _deliver(self, works: list[Work]) -> None:
        if works:
            now = time.time()
            for work in works:
                work.finished = now
            self.finished.put(works)

    async def _alive(self) -> bool:
        try:
            sign = await asyncio.wait_for(self._backend.probe(), _PROBE_TIMEOUT_S)
            return sign.alive
        except Exception:
            return False

    async def _recover(self) -> None:
        """Probe an open breaker's backend until it answers."""
        while self._breaker.state is State.OPEN and not self._draining:
            await asyncio.sleep(self._breaker.wait_s(time.monotonic()))
            alive = await self._alive()
            self._breaker.probed(alive, time.monotonic())
        self._loop.call_soon(self._schedule)

    async def _quarantine(self) -> None:
        """Try the suspects, one group at a time."""
        failures = 0
        while self._suspects and not self._draining:
            verdict = None
            self._alone = True  # no new calls; wait for those under way
            try:
                await self._quiet.wait()
                if await self._alive() and not self._draining:
                    works = [work for work in self._suspects.popleft() if self._current(work)]
                    if not works:
                        continue
                    verdict = await self._quarantined_call(works)
            finally:
                self._alone = False
                self._schedule()
            failures = 0 if verdict and verdict.finished else failures + 1
            if failures:
                await asyncio.sleep(self._backoff.delay_s(failures))

    async def _quarantined_call(self, works: list[Work]) -> Verdict:
        self._started()
        try:
            verdict = await self._call(works)
        finally:
            self._ended()
        self.retries += len(works)
        self._convict(works, verdict)
        return verdict

    def _convict(self, works: list[Work], verdict: Verdict) -> None:
        """Draw the conclusions from a call in quarantine."""
        if verdict.finished:
            self._succeeded()
            self._deliver(verdict.finished)
        if verdict.again:  # no evidence; they stay suspects
            self._suspects.append(verdict.again)
        if len(works) > 1:
            self._suspects.extend(halves(verdict.suspects) if verdict.suspects else [])
            return
        for work in verdict.suspects:
            work.deaths += 1
            log.warning("%s: a replica died working on it alone, %d times", work, work.deaths)
            if work.deaths < self._stream.suspect_attempts:
                self._suspects.append([work])
                continue
            assert work.error is not None
            victim = "the Router" if work.error.code is ErrorCode.ROUTER_DIED else "a model replica"
            work.outcome = msgspec.structs.replace(
                work.error,
                message=f"{victim} died while it worked on this record alone, {work.deaths} times",
            )
            self._deliver([work])
