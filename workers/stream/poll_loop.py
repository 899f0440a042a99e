"""The poll loop: one thread that polls Kafka and never waits for anything else.

Every turn polls, so that the group, the heartbeat and a rebalance go on whatever happens. It then
takes in what came, collects what is finished, and starts a commit when one is due. The waiting is
done on other threads: calls of the Router in `dispatcher`, transactions in `publisher`.
"""

from __future__ import annotations

import logging
import time

from kafka import TopicPartition
from kafka.errors import KafkaError

from workers.kafka.errors import REFUSALS, UnreadableBatchError
from workers.kafka.protocols import Consumer, Record
from workers.stream import tracing
from workers.stream.backpressure import Backpressure
from workers.stream.circuit_breaker import BreakerState
from workers.stream.commit_cycle import CommitCycle, CommitState
from workers.stream.decoding import to_pending_record
from workers.stream.dispatcher import Dispatcher
from workers.stream.list_builder import ListBuilder
from workers.stream.offset_tracker import OffsetTracker
from workers.stream.pausing import apply_pauses
from workers.stream.pending_record import PendingRecord
from workers.stream.start_positions import StartPositions
from workers.stream.watchdog import Watchdog

log = logging.getLogger(__name__)

#: Longest wait in ms of a poll, and of a fetch at the broker, while records are pending ...
_BUSY_POLL_MS = 100
#: ... and while none are: then hardly a partition is paused that would wait for a fetch under way.
_IDLE_POLL_MS, _IDLE_FETCH_MS = 200, 500
#: Longest wait of a partial list of records in seconds while the backend is idle.
LINGER_S = 0.02
#: How often the loop looks whether markers have moved its position without a record.
_ADVANCE_INTERVAL_S = 1.0
#: Time for the last transaction, and for the last commit of offsets.
_LAST_COMMIT_S = 5.0


class PollLoop:
    """Moves records from the consumer to the dispatcher, and finished ones to the commits.

    Args:
        consumer: of the manifest topic.
        tracker: of the assigned partitions' offsets.
        lists: groups records into the lists of the calls.
        dispatcher: makes the calls.
        cycle: commits.
        positions: starts the partitions, and says what a changed log means.
        backpressure: says what may be fetched.
        watchdog: guards the polls. They may also fail for as long as its limit, and for ever where
            waiting may help: a worker that runs does not end because a broker is away.
        group: the consumer group.

    Attributes:
        heartbeat: time of the last poll, also of one that failed, on `time.monotonic`.
        paused: partitions whose fetching rests.
    """

    def __init__(
        self,
        consumer: Consumer,
        tracker: OffsetTracker,
        lists: ListBuilder,
        dispatcher: Dispatcher,
        cycle: CommitCycle,
        positions: StartPositions,
        backpressure: Backpressure,
        watchdog: Watchdog,
        *,
        group: str,
    ) -> None:
        self.heartbeat = self._polled = time.monotonic()
        self.paused = 0
        self._consumer = consumer
        self._tracker = tracker
        self._lists = lists
        self._dispatcher = dispatcher
        self._cycle = cycle
        self._positions = positions
        self._backpressure = backpressure
        self._watchdog = watchdog
        self._group = group
        self._next_advance = 0.0
        self._unreadable: UnreadableBatchError | None = None

    @property
    def able_to_commit(self) -> bool:
        """Whether nothing stands in the way of commits: no recovery, and the loop goes on."""
        return self._cycle.state in (CommitState.IDLE, CommitState.PUBLISHING)

    def turn(self, *, fetch: bool = True, commit_now: bool = False) -> None:
        """Poll once, and do all that can be done without waiting.

        Args:
            fetch: take in new records; otherwise all partitions are paused.
            commit_now: commit what is finished without waiting for the interval.

        Raises:
            DeadLetterLimitError: the next commit would cross a limit.
            KafkaError: the broker refuses this worker, or polls have failed for too long through
                no fault of the connection.
            LogChangedError: see `StartPositions`.
            SettingsError: the settings rule out a producer.
            UnreadableBatchError: messages cannot be taken apart; those before them are taken in.
        """
        self._pause_and_resume(fetch)
        messages = self._poll()
        waiting = self._positions.waiting
        if waiting:
            messages = [each for each in messages if _partition(each) not in waiting]
        self._deliver(messages)
        self.collect()
        if fetch and not self._cycle.recovering:
            self._establish()
        if fetch:
            self._dispatch_partial(nothing_more=not messages)
        self._cycle.step()
        self._advance()
        self._cycle.begin(now=commit_now)
        if self._cycle.failure is not None:
            raise self._cycle.failure
        self._end_before_unreadable()

    def _end_before_unreadable(self) -> None:
        """Raise what could not be read, once the records before it are committed."""
        error = self._unreadable
        if error is None:
            return
        if self._cycle.recovering or error.partition not in self._tracker.assigned:
            self._unreadable = None  # somebody will come to it again
        elif self._tracker.pending(error.partition)[0] == 0:
            raise error

    def finish(self, drain_timeout_s: float) -> None:
        """Let the calls under way end and commit what they bring, in bounded time.

        Args:
            drain_timeout_s: longest wait for the calls.

        Raises:
            Exception: as `turn`.
        """
        self._dispatcher.drain()
        deadline = time.monotonic() + drain_timeout_s
        while self._dispatcher.running and time.monotonic() < deadline:
            self.turn(fetch=False)
        # the calls have ended or their time is up; one last transaction for what they brought
        deadline = max(deadline, time.monotonic() + _LAST_COMMIT_S)
        while time.monotonic() < deadline:
            self.turn(fetch=False, commit_now=True)
            if self._cycle.settled:
                break
        self._cycle.flush_offsets(_LAST_COMMIT_S)
        left = self._tracker.pending_records
        if left:
            log.info("%d records are not finished; they will be read again", left)

    def collect(self) -> None:
        """Take in the records that the dispatcher has finished."""
        while not self._dispatcher.finished.empty():
            for record in self._dispatcher.finished.get():
                self._complete(record)

    def _pause_and_resume(self, fetch: bool) -> None:
        """Bring the consumer's paused partitions in line with what may be fetched now."""
        pause = self._consumer.assignment()
        fetch = fetch and not self._cycle.recovering and self._unreadable is None
        if fetch and self._dispatcher.breaker is BreakerState.CLOSED:
            pause = self._backpressure.to_pause(pause, self._consumer.paused())
            pause |= self._positions.waiting & self._consumer.assignment()
        apply_pauses(self._consumer, pause)
        self.paused = len(pause)

    def _poll(self) -> list[Record]:
        busy = self._tracker.pending_records > 0
        wait_ms = _BUSY_POLL_MS if busy else _IDLE_POLL_MS
        if self._lists.waiting and self._dispatcher.idle_slots:
            wait_ms = int(LINGER_S * 1e3)
        room = self._backpressure.room
        with self._watchdog.guard("polling Kafka"):
            try:
                batches = self._consumer.poll(
                    timeout_ms=wait_ms,
                    max_records=room,
                    fetch_wait_ms=_BUSY_POLL_MS if busy else _IDLE_FETCH_MS,
                )
            except REFUSALS:
                raise
            except UnreadableBatchError as error:
                log.error("%s; ending once what was read before it is committed", error)
                self._unreadable = error
                return []
            except KafkaError as error:
                if self._positions.report(error):
                    return []
                if not error.retriable and self._failing_s > self._watchdog.limit_s:
                    raise
                log.warning("polling Kafka failed, trying again: %s", type(error).__name__)
                time.sleep(wait_ms / 1e3)
                return []
            finally:
                self.heartbeat = time.monotonic()
        self._polled = self.heartbeat
        return [message for messages in batches.values() for message in messages]

    @property
    def _failing_s(self) -> float:
        """Seconds since a poll succeeded."""
        return time.monotonic() - self._polled

    def _establish(self) -> None:
        try:
            self._positions.establish()
        except REFUSALS:
            raise
        except KafkaError as error:
            log.warning("reading the offsets failed, trying again: %s", type(error).__name__)

    def _deliver(self, messages: list[Record]) -> None:
        good = []
        for message in messages:
            record = to_pending_record(message)
            tracing.begin(record, self._group)
            self._backpressure.observe(record.size)
            self._tracker.deliver(record)
            if record.outcome is None:
                good.append(record)
            else:
                self._complete(record)
        if good:
            self._dispatcher.submit(self._lists.add(good, time.monotonic()))

    def _complete(self, record: PendingRecord) -> None:
        if self._tracker.complete(record):
            self._cycle.result_ready()

    def _dispatch_partial(self, *, nothing_more: bool) -> None:
        partial = self._lists.release(
            time.monotonic(), idle=self._dispatcher.idle_slots > 0, nothing_more=nothing_more
        )
        if partial:
            self._dispatcher.submit([partial])

    def _advance(self) -> None:
        """Let commits reach behind transaction markers at the end of a partition."""
        now = time.monotonic()
        if now < self._next_advance or self._cycle.recovering:
            return
        self._next_advance = now + _ADVANCE_INTERVAL_S
        for tp in list(self._tracker.assigned):
            if self._tracker.pending(tp)[0] or tp in self._positions.waiting:
                continue
            try:
                position = self._consumer.fetch_position(tp, timeout_ms=_BUSY_POLL_MS)
            except KafkaError as error:
                if not self._positions.report(error):
                    log.debug("no position of %s-%d: %s", *tp, type(error).__name__)
                continue
            if position is not None and self._tracker.advance(tp, position):
                self._cycle.result_ready()


def _partition(message: Record) -> TopicPartition:
    return TopicPartition(message.topic, message.partition)
