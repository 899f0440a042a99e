"""The stream worker: one thread that polls Kafka and never waits.

Every turn of the loop polls (so that the group, the heartbeat and a rebalance go on whatever
happens), takes in what came, collects what is finished, and starts a commit when one is due. The
waiting is done elsewhere: calls of the Router in `dispatcher`, transactions in `publisher`.

Exactly once: outputs, metrics, dead letters and offsets go into one transaction, fenced by the
transactional id and by the group's generation. Whenever it is not certain that it was committed,
everything in memory is dropped and the worker goes back to the offsets that the broker reports.
So only the work of the models can be done twice, never an output.

Members are *static* (`group.instance.id`): a worker that comes back within the session timeout
takes its partitions up again without a rebalance, also after SIGKILL. The price: a worker that is
stopped for good keeps its partitions until the session timeout (`stream.session_timeout_s`); the
others wait that long.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

import msgspec
from kafka import AsyncConsumerRebalanceListener, OffsetAndMetadata, TopicPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.base import MemberState
from kafka.errors import (
    AuthorizationError,
    FencedInstanceIdError,
    KafkaError,
    SaslAuthenticationFailedError,
    UnsupportedVersionError,
)

from schemas.settings import Settings, SettingsError
from workers import exit_codes
from workers.stream.backend import Backend
from workers.stream.batcher import Batcher
from workers.stream.breaker import State
from workers.stream.clients import KafkaUnreachableError, make_consumer, missing_topics
from workers.stream.decoding import to_work
from workers.stream.dispatcher import Dispatcher
from workers.stream.limits import DeadLetterLimit
from workers.stream.offsets import OffsetTracker, Taken
from workers.stream.pausing import apply_pauses
from workers.stream.publisher import Publisher, PublishError
from workers.stream.retry import Backoff
from workers.stream.watchdog import Watchdog
from workers.stream.work import Work

log = logging.getLogger(__name__)

#: Longest wait of a poll, in milliseconds: with work in flight, and without.
_BUSY_POLL_MS = 100
_IDLE_POLL_MS = 200
#: Longest wait of a partial batch while the backend is idle.
_LINGER_S = 0.02
_MAX_POLL_RECORDS = 500
#: How often the worker looks whether markers have moved its position without a record.
_ADVANCE_INTERVAL_S = 1.0
_CLOSE_TIMEOUT_S = 5.0
_FATAL = (
    AuthorizationError,
    SaslAuthenticationFailedError,
    FencedInstanceIdError,
    UnsupportedVersionError,
)


class Stats(msgspec.Struct, kw_only=True, frozen=True):
    """A snapshot of a worker, for a status line or a gauge.

    Attributes:
        partitions: assigned to this worker.
        pending: records delivered and not committed, and `pending_bytes` of their values.
        in_flight: calls of the Router under way.
        paused: partitions whose fetching rests.
        breaker: "closed", "open" or "half-open".
        transcribed, dead_lettered: records committed since the start.
        retries: records tried again since the start.
        commits: commits since the start; `recoveries` of them failed and were done again.
        heartbeat_age_s: seconds since the last poll.
    """

    instance: str
    partitions: int
    pending: int
    pending_bytes: int
    in_flight: int
    paused: int
    breaker: str
    transcribed: int
    dead_lettered: int
    retries: int
    commits: int
    recoveries: int
    heartbeat_age_s: float


class StreamWorker:
    """Transcribes the manifest topic through `backend`, until it is stopped.

    Args:
        settings: `kafka` and `stream` are used.
        backend: the Router; see `Backend`.
        instance: name of this worker, unique among those that run and the same after a restart:
            it makes the transactional id and the static member id ``{group}-{instance}``.
    """

    def __init__(self, settings: Settings, backend: Backend, instance: str = "0") -> None:
        self._kafka = settings.kafka
        self._stream = settings.stream
        self._instance = instance
        self._exactly_once = self._stream.guarantee == "exactly_once"
        self._tracker = OffsetTracker()
        self._batcher = Batcher(self._stream.batch_records, _LINGER_S)
        self._dispatcher = Dispatcher(
            backend,
            self._stream,
            self._tracker.current,
            topic=self._kafka.topics.manifests,
            group=self._kafka.group,
        )
        self._limit = DeadLetterLimit(
            self._stream.max_dead_letter_ratio,
            self._stream.dead_letter_window,
            self._stream.max_consecutive_dead_letters,
        )
        self._backoff = Backoff(self._stream.retry_initial_s, self._stream.retry_max_s)
        # longer than any transaction: a commit after that is refused by the broker in any case
        self._patience_s = 2 * self._stream.transaction_timeout_s + 30
        self._stop = threading.Event()
        self._heartbeat = time.monotonic()
        self._consumer: Any = None
        self._publisher: Publisher
        self._watchdog: Watchdog
        self._publishing: tuple[Future[None], Taken] | None = None
        self._reopening: Future[None] | None = None
        self._paused = 0
        self._to_commit: dict[TopicPartition, OffsetAndMetadata] = {}  # at least once only
        self._setbacks = 0  # failed commits and failed attempts to reopen, in a row
        self._seek_back = False
        # of a record's value; at first as if a batch of them were all that may be pending
        self._mean_bytes = max(1.0, self._stream.max_pending_bytes / self._stream.batch_records)
        self._ready_since: float | None = None  # of the oldest uncommitted result
        self._next_advance = 0.0
        self._closing = False
        self._exit_code: int | None = None
        self._transcribed = self._dead_lettered = self._commits = self._recoveries = 0

    # -- from any thread

    def stop(self) -> None:
        """Let `run` finish what is in flight, commit, and return. Does not block."""
        self._stop.set()

    @property
    def heartbeat_age_s(self) -> float:
        """Liveness: seconds since the loop last turned. Healthy is below a few seconds."""
        return time.monotonic() - self._heartbeat

    @property
    def ready(self) -> bool:
        """Readiness: partitions are assigned, the backend answers, the producer is ours."""
        return (
            bool(self._tracker.assigned)
            and self._dispatcher.breaker is State.CLOSED
            and self._reopening is None
            and self._exit_code is None
        )

    def stats(self) -> Stats:
        """A snapshot; cheap."""
        return Stats(
            instance=self._instance,
            partitions=len(self._tracker.assigned),
            pending=self._tracker.records,
            pending_bytes=self._tracker.bytes,
            in_flight=self._dispatcher.running,
            paused=self._paused,
            breaker=self._dispatcher.breaker.value,
            transcribed=self._transcribed,
            dead_lettered=self._dead_lettered,
            retries=self._dispatcher.retries,
            commits=self._commits,
            recoveries=self._recoveries,
            heartbeat_age_s=self.heartbeat_age_s,
        )

    def run(self) -> int:
        """Work until `stop`, or until it cannot go on. Blocks; call it once.

        Returns:
            A code of `workers.exit_codes`: `OK` after `stop`, `UNREACHABLE` where no broker
            answers at the start, `SETTINGS` for a missing topic, a refused option or missing
            rights, `DEAD_LETTER_LIMIT`, and `RESTART` when another worker has taken this
            instance's place. The log says what to do. When a call of the Kafka client hangs, the
            *process* ends with `RESTART`.
        """
        try:
            self._open()
            self._loop()
            self._finish()
        except KafkaUnreachableError as error:
            log.error("%s", error)
            self._exit(exit_codes.UNREACHABLE)
        except SettingsError as error:
            log.error("%s", error)
            self._exit(exit_codes.SETTINGS)
        except FencedInstanceIdError:
            self._fenced()
        except _FATAL as error:
            log.error("Kafka refuses this worker: %s: %s", type(error).__name__, error)
            self._exit(exit_codes.SETTINGS)
        except KafkaError as error:
            log.error("Kafka failed: %s: %s", type(error).__name__, error)
            self._exit(exit_codes.UNREACHABLE)
        finally:
            self._close()
        return exit_codes.OK if self._exit_code is None else self._exit_code

    # -- start and end

    def _open(self) -> None:
        kafka, stream = self._kafka, self._stream
        topics = kafka.topics
        session_ms = int(stream.session_timeout_s * 1e3)
        self._watchdog = Watchdog(self._patience_s)
        self._publisher = Publisher(kafka, stream, self._instance, self._watchdog)
        every = (topics.manifests, topics.transcripts, topics.metrics, topics.dead_letters)
        missing = missing_topics(kafka, every)
        if missing:
            raise SettingsError(f"kafka.topics: there is no topic {', '.join(missing)}; create it")
        self._consumer = make_consumer(
            kafka,
            group_id=kafka.group,
            group_instance_id=f"{kafka.group}-{self._instance}",
            client_id=f"{kafka.group}-{self._instance}",
            partition_assignment_strategy=[CooperativeStickyAssignor()],
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=max(500, min(3_000, session_ms // 5)),
            max_poll_interval_ms=max(60_000, 4 * session_ms),
            max_poll_records=_MAX_POLL_RECORDS,
            fetch_max_wait_ms=_BUSY_POLL_MS,
            fetch_max_bytes=min(50 << 20, stream.max_pending_bytes),
        )
        self._publisher.open()  # before the offsets are read: it settles what was left open
        self._dispatcher.start()
        self._consumer.subscribe([topics.manifests], listener=_Listener(self))
        log.info("worker %s reads %s as group %s", self._instance, topics.manifests, kafka.group)

    def _loop(self) -> None:
        while not self._stop.is_set() and self._exit_code is None:
            self._turn(fetch=True)

    def _finish(self) -> None:
        """Let the calls under way end and commit what they bring, in bounded time."""
        if self._exit_code is not None:
            return
        self._dispatcher.drain()
        deadline = time.monotonic() + self._stream.drain_timeout_s
        while self._dispatcher.running and time.monotonic() < deadline:
            self._turn(fetch=False)
        # the calls have ended or their time is up; one last transaction for what they brought
        deadline = max(deadline, time.monotonic() + _CLOSE_TIMEOUT_S)
        while self._exit_code is None and time.monotonic() < deadline:
            self._turn(fetch=False, commit_now=True)
            if self._publishing is None and not self._any_ready():
                break
        if self._to_commit:  # the asynchronous commits may not have arrived
            self._consumer.commit(self._owned_offsets(), timeout_ms=_CLOSE_TIMEOUT_S * 1e3)
        log.info("worker %s stops; %d records go back", self._instance, self._tracker.records)

    def _close(self) -> None:
        self._closing = True
        self._dispatcher.stop()
        if hasattr(self, "_publisher"):
            self._publisher.close()
        if self._consumer is not None:
            try:
                self._consumer.close(autocommit=False, timeout_ms=_CLOSE_TIMEOUT_S * 1e3)
            except Exception as error:  # nothing depends on it: the offsets are committed
                log.warning("closing the consumer: %s", type(error).__name__)
        if hasattr(self, "_watchdog"):
            self._watchdog.stop()

    def _fenced(self) -> None:
        log.error(
            "another worker runs as instance `%s` of group `%s`; give each its own name",
            self._instance,
            self._kafka.group,
        )
        self._exit(exit_codes.RESTART)

    def _exit(self, code: int) -> None:
        if self._exit_code is None:
            self._exit_code = code

    # -- one turn of the loop

    def _turn(self, *, fetch: bool, commit_now: bool = False) -> None:
        self._pause_and_resume(fetch)
        messages = self._poll()
        self._deliver(messages)
        self._collect()
        if fetch:
            self._dispatch(nothing_more=not messages)
        self._finish_commit()
        self._recover()
        self._advance()
        self._begin_commit(now=commit_now)

    def _poll(self) -> list[Any]:
        wait_ms = _BUSY_POLL_MS if self._tracker.records else _IDLE_POLL_MS
        if self._batcher.waiting and self._dispatcher.idle_slots:
            wait_ms = int(_LINGER_S * 1e3)
        with self._watchdog.guard("polling Kafka"):
            try:
                batches = self._consumer.poll(timeout_ms=wait_ms, max_records=self._room())
            except _FATAL:
                raise
            except KafkaError as error:
                if self.heartbeat_age_s > self._patience_s:
                    raise
                log.warning("polling Kafka failed, trying again: %s", type(error).__name__)
                time.sleep(wait_ms / 1e3)
                return []
        self._heartbeat = time.monotonic()
        return [message for messages in batches.values() for message in messages]

    def _deliver(self, messages: list[Any]) -> None:
        good = []
        for message in messages:
            work = to_work(message)
            self._mean_bytes += (work.size - self._mean_bytes) / 16
            self._tracker.deliver(work)
            if work.outcome is None:
                good.append(work)
            else:
                self._complete(work)
        if good:
            self._dispatcher.submit(self._batcher.add(good, time.monotonic()))

    def _collect(self) -> None:
        while not self._dispatcher.finished.empty():
            for work in self._dispatcher.finished.get():
                self._complete(work)

    def _complete(self, work: Work) -> None:
        if self._tracker.complete(work) and self._ready_since is None:
            self._ready_since = time.monotonic()

    def _dispatch(self, *, nothing_more: bool) -> None:
        batch = self._batcher.release(
            time.monotonic(), idle=self._dispatcher.idle_slots > 0, nothing_more=nothing_more
        )
        if batch:
            self._dispatcher.submit([batch])

    # -- backpressure

    def _room(self) -> int:
        """Records that the next poll may bring; they may all be of one partition."""
        stream = self._stream
        records = stream.max_pending_records - self._tracker.records
        by_size = (stream.max_pending_bytes - self._tracker.bytes) / self._mean_bytes
        return max(1, min(self._share(), records, int(by_size), _MAX_POLL_RECORDS))

    def _share(self) -> int:
        """Records that one partition may have pending: so that a partition stuck on its first
        record leaves room for the others."""
        partitions = max(1, len(self._tracker.assigned))
        fair = self._stream.max_pending_records // partitions
        return min(max(fair, 2 * self._stream.batch_records), self._stream.max_pending_records)

    def _pause_and_resume(self, fetch: bool) -> None:
        """Bring the consumer's paused partitions in line with what may be fetched now."""
        assigned = self._consumer.assignment()
        if fetch and not self._seek_back and self._dispatcher.breaker is State.CLOSED:
            paused = self._consumer.paused()
            assigned = {tp for tp in assigned if self._full(tp, tp in paused)}
        apply_pauses(self._consumer, assigned)
        self._paused = len(assigned)

    def _full(self, tp: TopicPartition, paused: bool) -> bool:
        """Whether `tp` has enough pending; a paused one goes on at half of that."""
        if tp not in self._tracker.assigned:
            return False
        scale = 0.5 if paused else 1.0
        share = self._share()
        share_bytes = self._stream.max_pending_bytes * share / self._stream.max_pending_records
        records, size = self._tracker.pending(tp)
        return (
            records >= share * scale
            or size >= share_bytes * scale
            or self._tracker.records >= self._stream.max_pending_records * max(scale, 0.75)
            or self._tracker.bytes >= self._stream.max_pending_bytes * max(scale, 0.75)
        )

    # -- commits

    def _any_ready(self) -> bool:
        return any(self._tracker.ready(tp) for tp in self._tracker.assigned)

    def _commit_due(self) -> bool:
        if self._ready_since is None:
            return False
        if time.monotonic() - self._ready_since >= self._stream.commit_interval_s:
            return True
        ready = [self._tracker.ready(tp) for tp in self._tracker.assigned]
        early = min(self._stream.commit_records, self._stream.max_pending_records // 2)
        # a partition that may not fetch until its results are committed does not wait either
        return sum(ready) >= early or any(n >= self._share() // 2 for n in ready)

    def _begin_commit(self, *, now: bool) -> None:
        if self._publishing is not None or self._seek_back or not (now or self._commit_due()):
            return
        metadata = self._consumer.group_metadata()
        if metadata.state is not MemberState.STABLE:
            return  # in a rebalance the broker may refuse; it ends soon
        taken = self._tracker.take()
        self._ready_since = None
        if not taken.offsets:
            return
        self._publish(taken, metadata)

    def _publish(self, taken: Taken, metadata: Any) -> bool:
        """Start the commit of `taken`; False where it would cross a dead-letter limit."""
        reason = self._limit.exceeded(work.dead for work in taken.works)
        if reason is None:
            self._publishing = (self._publisher.publish(taken, metadata), taken)
            return True
        first = next(work for work in taken.works if work.dead)
        log.error(
            "%s. Stopping before they are committed. Look at message %s and its followers (%s), "
            "mend the cause or raise the limit, and start again",
            reason,
            first.name,
            first.error.code if first.error else "",
        )
        self._exit(exit_codes.DEAD_LETTER_LIMIT)
        return False

    def _finish_commit(self, timeout_s: float = 0.0) -> bool:
        """Take in the end of the commit under way; False where there is none or it failed."""
        if self._publishing is None:
            return False
        future, taken = self._publishing
        try:
            future.result(timeout=timeout_s)
        except FutureTimeout:
            return False
        except PublishError as error:
            self._publishing = None
            if isinstance(error.__cause__, FencedInstanceIdError):
                self._fenced()
                return False
            log.warning("a commit failed; going back to the committed offsets: %s", error)
            self._go_back()
            return False
        self._publishing = None
        self._settle(taken)
        return True

    def _settle(self, taken: Taken) -> None:
        if not self._exactly_once:
            for tp, offset in taken.offsets.items():
                self._to_commit[tp] = OffsetAndMetadata(offset, "", -1)
            self._consumer.commit_async(self._owned_offsets(), callback=_log_failed_commit)
        self._tracker.settle(taken)
        dead = [work.dead for work in taken.works]
        self._limit.accept(dead)
        self._setbacks = 0
        self._commits += 1
        self._dead_lettered += sum(dead)
        self._transcribed += len(dead) - sum(dead)

    def _owned_offsets(self) -> dict[TopicPartition, OffsetAndMetadata]:
        owned = self._tracker.assigned
        self._to_commit = {tp: at for tp, at in self._to_commit.items() if tp in owned}
        return dict(self._to_commit)

    def _advance(self) -> None:
        """Let commits reach behind transaction markers at the end of a partition."""
        now = time.monotonic()
        if now < self._next_advance or self._seek_back:
            return
        self._next_advance = now + _ADVANCE_INTERVAL_S
        for tp in list(self._tracker.assigned):
            if self._tracker.pending(tp)[0]:
                continue
            position = self._consumer.position(tp, timeout_ms=_BUSY_POLL_MS)
            if (
                position is not None
                and self._tracker.advance(tp, position)
                and self._ready_since is None
            ):
                self._ready_since = now

    # -- recovery of the producer

    def _go_back(self) -> None:
        """Forget all that is not committed; make a new producer and read again."""
        self._recoveries += 1
        self._seek_back = True
        self._ready_since = None
        self._tracker.assign(list(self._tracker.assigned))
        self._batcher.discard(self._tracker.current)
        self._reopen()

    def _reopen(self) -> None:
        self._setbacks += 1
        delay_s = 0.0 if self._setbacks == 1 else self._backoff.delay_s(self._setbacks)
        self._reopening = self._publisher.open_later(
            delay_s, lambda: self._consumer.group_metadata().member_id
        )

    def _recover(self) -> None:
        """After `_go_back`: wait for the new producer, then seek. Every turn does a step."""
        if self._reopening is not None:
            if not self._reopening.done():
                return
            error = self._reopening.exception()
            if isinstance(error, (*_FATAL, SettingsError)):
                raise error
            if error is not None:
                log.warning("no producer yet, trying again: %s", type(error).__name__)
                self._reopen()
                return
            self._reopening = None
        if self._seek_back:
            try:
                self._seek_to_committed()
            except KafkaError as failure:
                log.warning("reading the offsets failed, trying again: %s", type(failure).__name__)
                return
            self._seek_back = False

    def _seek_to_committed(self) -> None:
        for tp in self._consumer.assignment():
            offset = self._consumer.committed(tp, timeout_ms=_CLOSE_TIMEOUT_S * 1e3)
            if offset is None:
                self._consumer.seek_to_beginning(tp)
            else:
                self._consumer.seek(tp, offset)

    # -- rebalances; called while the poll thread is inside `poll`

    def _on_assigned(self, partitions: Iterable[TopicPartition]) -> None:
        self._tracker.assign(partitions)
        log.info("assigned: %s", _names(partitions))

    def _on_lost(self, partitions: Iterable[TopicPartition]) -> None:
        """Somebody else has them already: commit nothing."""
        self._tracker.revoke(partitions)
        self._batcher.discard(self._tracker.current)
        log.warning("lost: %s", _names(partitions))

    def _on_revoked(self, partitions: Iterable[TopicPartition]) -> None:
        """Commit what is done of `partitions`, in a third of the session timeout at most.

        Heartbeats rest meanwhile. A commit that comes too late is refused by the broker, which
        knows the generation; the next owner does the work again.
        """
        deadline = time.monotonic() + self._stream.session_timeout_s / 3
        try:
            self._finish_commit(deadline - time.monotonic())
            self._collect()
            if self._publishing is None and not self._seek_back and not self._closing:
                taken = self._tracker.take(partitions)
                if taken.offsets and self._publish(taken, self._consumer.group_metadata()):
                    self._finish_commit(deadline - time.monotonic())
        finally:
            self._tracker.revoke(partitions)
            self._batcher.discard(self._tracker.current)
        log.info("revoked: %s", _names(partitions))


class _Listener(AsyncConsumerRebalanceListener):
    """Hands kafka-python's callbacks to the worker.

    They run on the consumer's network thread while the poll thread waits inside `poll`, so the
    worker's state is not shared at any moment. The consumer's blocking calls are out of bounds
    here: they raise.
    """

    def __init__(self, worker: StreamWorker) -> None:
        self._worker = worker

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._worker._on_revoked(revoked)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._worker._on_assigned(assigned)

    async def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        self._worker._on_lost(lost)


def _names(partitions: Iterable[TopicPartition]) -> str:
    return ", ".join(f"{tp.topic}-{tp.partition}" for tp in sorted(partitions))


def _log_failed_commit(offsets: Any, response: Any) -> None:
    if isinstance(response, Exception):
        log.warning("an offset commit failed; its records may come again: %s", response)
