"""Calling the Router: bounded calls at once, retries, the breaker, and quarantine for suspects.

Everything here runs on one asyncio loop in a thread of its own. Batches come in by `submit`,
finished records go out by the queue `finished`, both from and to the poll thread.

*Suspects* are records whose replica died, on which its engine failed, or whose call failed on a bug
of Chorus. They are tried again in quarantine: in halves, one group at a time, with no other call of
this worker under way, and only after a good probe. So an innocent record that shared a replica with
a killer is cleared by its first retry, and a death in quarantine is evidence against the group
alone. A single record that kills a proven replica `suspect_attempts` times is given up.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from queue import SimpleQueue
from typing import Any

import msgspec

from schemas.failures import ErrorCode, RecordError
from schemas.requests import Backlog
from schemas.settings import StreamSettings
from serve_app.router.protocol import Backend
from workers.stream.backoff import Backoff
from workers.stream.call_result import CallResult, halves
from workers.stream.circuit_breaker import BreakerState, CircuitBreaker
from workers.stream.pending_record import PendingRecord
from workers.stream.router_calls import RouterCalls

log = logging.getLogger(__name__)

_LOGGED_ATTEMPTS = frozenset(10**power for power in range(1, 10))
#: A call that failed as a whole this often is tried again in halves: one record in it may be what
#: fails the call.
_WHOLE_ATTEMPTS = 3
#: What happened to the backend over a suspect.
_SUSPICIONS = {
    ErrorCode.MODEL_DIED: "a model replica died",
    ErrorCode.MODEL_FAULT: "a model's engine failed",
    ErrorCode.ROUTER_DIED: "the Router died",
    ErrorCode.INTERNAL_FAULT: "Chorus failed (its log says where; please report it)",
}


#: The messages of these come from Chorus, and have nothing of a record.
_WITHOUT_DATA = frozenset(
    {
        ErrorCode.MODEL_UNAVAILABLE,
        ErrorCode.MODEL_TIMEOUT,
        ErrorCode.ROUTER_UNAVAILABLE,
        ErrorCode.OVERLOADED,
        ErrorCode.OTHER_SETTINGS,
    }
)


def _told(error: RecordError | None) -> str:
    """What a log may have of an error."""
    if error is None:
        return "for no known reason"
    return f"{error.code}: {error.message}" if error.code in _WITHOUT_DATA else error.code


class Dispatcher:
    """Runs batches through a backend until each record has an outcome.

    Args:
        backend: see `Backend`.
        stream: settings.
        current: whether a record's partition is still ours; others are dropped. Called from the
            dispatch thread.
        group: see `RouterCalls`.
    """

    def __init__(
        self,
        backend: Backend,
        stream: StreamSettings,
        current: Callable[[PendingRecord], bool],
        group: str = "",
    ) -> None:
        self.finished: SimpleQueue[list[PendingRecord]] = SimpleQueue()
        self.running = 0
        self.retries = 0
        self._calls = RouterCalls(backend, stream.call_timeout_s, group)
        self._stream = stream
        self._current = current
        self._backoff = Backoff(stream.retry_initial_s, stream.retry_max_s)
        self._breaker = CircuitBreaker(stream.breaker_failures, self._backoff)
        self._ready: deque[list[PendingRecord]] = deque()
        self._submitted = 0  # batches; written by the poll thread
        self._enqueued = 0  # batches; written by the dispatch thread
        self._suspects: deque[list[PendingRecord]] = deque()
        self._alone = False  # a quarantined call wants, or has, the backend for itself
        self._quiet = asyncio.Event()  # no call is running
        self._quiet.set()
        self._draining = False
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._running_calls: set[asyncio.Task[None]] = set()  # keeps the tasks from being collected
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="stream-dispatch", daemon=True)

    # -- called from the poll thread

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, batches: list[list[PendingRecord]]) -> None:
        """Take in batches; returns at once."""
        if batches:
            self._submitted += len(batches)
            self._loop.call_soon_threadsafe(self._enqueue, batches)

    def tell(self, backlog: Backlog) -> None:
        """Tell the Router what waits; returns at once. From any thread."""
        self._loop.call_soon_threadsafe(self._ensure, "telling", partial(self._calls.tell, backlog))

    @property
    def breaker(self) -> BreakerState:
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

    def _enqueue(self, batches: list[list[PendingRecord]]) -> None:
        self._ready.extend(batches)
        self._enqueued += len(batches)
        self._schedule()

    def _schedule(self) -> None:
        """Start whatever may start now."""
        if self._draining:
            return
        if self._suspects:
            self._ensure("quarantine", self._quarantine)
        if self._breaker.state is BreakerState.OPEN:
            self._ensure("recovery", self._recover)
            return
        limit = (
            1 if self._breaker.state is BreakerState.HALF_OPEN else self._stream.batches_in_flight
        )
        while self._ready and self.running < limit and not self._alone:
            records = [record for record in self._ready.popleft() if self._current(record)]
            if records:
                self._started()
                task = self._loop.create_task(self._normal_call(records))
                self._running_calls.add(task)
                task.add_done_callback(self._running_calls.discard)

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

    async def _normal_call(self, records: list[PendingRecord]) -> None:
        try:
            result = await self._calls.transcribe(records)
            if result.failed:
                self._failed(records, unreachable=result.unreachable)
            elif result.finished:
                self._succeeded()
            self._deliver(result.finished)
            if result.suspects:
                self._suspects.extend(halves(result.suspects))
            if result.retryable:
                self._retry(result)
        finally:
            self._ended()

    def _failed(self, records: list[PendingRecord], *, unreachable: bool) -> None:
        # a group in its retries may have trouble of its own: only new ones open the breaker,
        # unless the call did not get through
        retried = any(record.attempts > 1 for record in records)
        if self._breaker.state is BreakerState.CLOSED and retried and not unreachable:
            return
        self._breaker.failed(time.monotonic())
        if self._breaker.state is BreakerState.OPEN:
            cause = _told(records[0].error)
            log.warning("the backend fails (%s); fetching rests until it answers again", cause)

    def _succeeded(self) -> None:
        if self._breaker.state is not BreakerState.CLOSED:
            log.info("the backend answers again; fetching goes on")
        self._breaker.succeeded()

    def _retry(self, result: CallResult) -> None:
        records = result.retryable
        self.retries += len(records)
        attempt = max(record.attempts for record in records)
        failed = result.failed and not result.unreachable
        split = result.split or (failed and attempt >= _WHOLE_ATTEMPTS)
        if attempt in _LOGGED_ATTEMPTS:
            log.warning("%s: tried %d times (%s)", records[0], attempt, _told(records[0].error))
        for group in halves(records) if split else [records]:
            self._loop.call_later(self._backoff.delay_s(attempt), self._again, group)

    def _again(self, records: list[PendingRecord]) -> None:
        self._ready.appendleft(records)  # the oldest hold up the commits
        self._schedule()

    def _deliver(self, records: list[PendingRecord]) -> None:
        if records:
            now = time.time()
            for record in records:
                record.finished = now
            self.finished.put(records)

    async def _recover(self) -> None:
        """Probe an open breaker's backend until it answers."""
        while self._breaker.state is BreakerState.OPEN and not self._draining:
            await asyncio.sleep(self._breaker.wait_s(time.monotonic()))
            alive = await self._calls.alive()
            self._breaker.probed(alive, time.monotonic())
        self._loop.call_soon(self._schedule)

    async def _quarantine(self) -> None:
        """Try the suspects, one group at a time."""
        failures = 0
        while self._suspects and not self._draining:
            result = None
            self._alone = True  # no new calls; wait for those under way
            try:
                await self._quiet.wait()
                if await self._calls.alive() and not self._draining:
                    records = [
                        record for record in self._suspects.popleft() if self._current(record)
                    ]
                    if not records:
                        continue
                    result = await self._quarantined_call(records)
            finally:
                self._alone = False
                self._schedule()
            failures = 0 if result and result.finished else failures + 1
            if failures:
                await asyncio.sleep(self._backoff.delay_s(failures))

    async def _quarantined_call(self, records: list[PendingRecord]) -> CallResult:
        self._started()
        try:
            result = await self._calls.transcribe(records)
        finally:
            self._ended()
        self.retries += len(records)
        self._conclude(records, result)
        return result

    def _conclude(self, records: list[PendingRecord], result: CallResult) -> None:
        """Decide about `records` after a call in quarantine."""
        if result.finished:
            self._succeeded()
            self._deliver(result.finished)
        if result.retryable:  # no evidence; they stay suspects
            self._suspects.append(result.retryable)
        if len(records) > 1:
            self._suspects.extend(halves(result.suspects) if result.suspects else [])
            return
        for record in result.suspects:
            if record.error is None:
                raise RuntimeError(f"{record} is a suspect without an error")
            record.deaths += 1
            what = _SUSPICIONS[record.error.code]
            log.warning("%s: %s working on it alone, %d times", record, what, record.deaths)
            if record.deaths < self._stream.suspect_attempts:
                self._suspects.append([record])
                continue
            message = record.error.message  # of a death, it says who and why
            if record.error.code is ErrorCode.INTERNAL_FAULT:
                message = f"{what} while it worked on this record"
            message = f"{message} ({record.deaths} times, alone)"
            record.outcome = msgspec.structs.replace(record.error, message=message)
            self._deliver([record])
