"""The stream worker as a whole: it opens the clients, runs the poll loop, and closes them again.

The loop itself is in `poll_loop`, commits and the recovery from failed ones in `commit_cycle`,
rebalances in `rebalance`, and the arithmetic of pausing in `backpressure`.

Members are *static* (`group.instance.id`): a worker that comes back within the session timeout
takes its partitions up again without a rebalance, also after SIGKILL. The price: a worker that is
stopped for good keeps its partitions until the session timeout (`stream.session_timeout_s`); the
others wait that long.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

import msgspec
from kafka import TopicPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor

from schemas.requests import Backlog
from schemas.settings import Settings
from serve_app.router.protocol import Backend
from workers import exit_codes
from workers.kafka.broker_clients import BrokerClients
from workers.kafka.errors import UnreadableBatchError
from workers.kafka.protocols import Clients, Consumer
from workers.quality.gauges import Gauge
from workers.quality.watch import QualityWatch
from workers.stream.backlog_watch import BacklogCounter, BacklogWatch
from workers.stream.backpressure import MAX_POLL_RECORDS, Backpressure
from workers.stream.circuit_breaker import BreakerState
from workers.stream.commit_cycle import CommitCycle, CommitTotals
from workers.stream.dispatcher import Dispatcher
from workers.stream.endings import ENDINGS, ending
from workers.stream.list_builder import ListBuilder
from workers.stream.offset_tracker import OffsetTracker
from workers.stream.pending_record import PendingRecord
from workers.stream.poll_loop import LINGER_S, PollLoop
from workers.stream.progress_log import ProgressLog
from workers.stream.publisher import Publisher
from workers.stream.rebalance import RebalanceListener
from workers.stream.start_positions import LogChangedError, StartPositions
from workers.stream.topic_checks import check_topics, outputs_of
from workers.stream.watchdog import Watchdog

log = logging.getLogger(__name__)

_CLOSE_TIMEOUT_S = 5.0


class Stats(msgspec.Struct, kw_only=True, frozen=True):
    """A snapshot of a worker, for a status line or a gauge.

    Attributes:
        partitions: assigned to this worker.
        pending: records delivered and not committed, and `pending_bytes` of their values.
        in_flight: calls of the Router under way.
        paused: partitions whose fetching rests.
        breaker: "closed", "open" or "half-open".
        transcribed, dead_lettered: records committed since the start; `audio_s` is the seconds of
            audio of the former.
        retries: records tried again since the start.
        log_changes: how often a partition's log had changed and the worker went on, and
            `lost` offsets that were deleted from such logs before they were read.
        commits: commits since the start; `recoveries` of them failed and were done again.
        heartbeat_age_s: seconds since the last poll.
        oldest_s: age of the oldest record that is not committed, by its timestamp in Kafka.
        lag: records that wait in all partitions, a while ago; None where another worker looks.
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
    log_changes: int
    lost: int
    heartbeat_age_s: float
    audio_s: float = 0.0
    oldest_s: float | None = None
    lag: int | None = None


class StreamWorker:
    """Transcribes the manifest topic through `backend`, until it is stopped.

    Args:
        settings: `kafka` and `stream` are used.
        backend: the Router; see `Backend`.
        instance: name of this worker, unique among those that run and the same after a restart:
            it makes the transactional id and the static member id ``{group}-{instance}``.
        clients: make the Kafka clients; by default those of the brokers in the settings.
    """

    def __init__(
        self,
        settings: Settings,
        backend: Backend,
        instance: str = "0",
        clients: Clients | None = None,
    ) -> None:
        self._clients = BrokerClients(settings.kafka) if clients is None else clients
        self._settings = settings
        self._kafka = settings.kafka
        self._stream = settings.stream
        self._instance = instance
        self._tracker = OffsetTracker()
        self._totals = CommitTotals()
        self._dispatcher = Dispatcher(
            backend,
            self._stream,
            self._tracker.current,
            group=self._kafka.group,
        )
        self._lag: int | None = None
        self._tell_quality: Callable[[Sequence[Gauge]], None] = lambda gauges: None
        self._loop: PollLoop | None = None
        self._positions: StartPositions | None = None
        self._created = time.monotonic()
        self._stop = threading.Event()

    # -- from any thread

    def stop(self) -> None:
        """Let `run` finish what is in flight, commit, and return. Does not block."""
        self._stop.set()

    @property
    def heartbeat_age_s(self) -> float:
        """Liveness: seconds since the loop last turned. Healthy is below a few seconds."""
        return time.monotonic() - (self._loop.heartbeat if self._loop else self._created)

    @property
    def ready(self) -> bool:
        """Readiness: partitions are assigned, the backend answers, the producer is ours."""
        return (
            self._loop is not None
            and self._loop.able_to_commit
            and bool(self._tracker.assigned)
            and self._dispatcher.breaker is BreakerState.CLOSED
        )

    def stats(self) -> Stats:
        """A snapshot; cheap."""
        return Stats(
            instance=self._instance,
            partitions=len(self._tracker.assigned),
            pending=self._tracker.pending_records,
            pending_bytes=self._tracker.pending_bytes,
            in_flight=self._dispatcher.running,
            paused=self._loop.paused if self._loop else 0,
            breaker=self._dispatcher.breaker.value,
            transcribed=self._totals.transcribed,
            dead_lettered=self._totals.dead_lettered,
            retries=self._dispatcher.retries,
            commits=self._totals.commits,
            recoveries=self._totals.recoveries,
            log_changes=self._positions.changes if self._positions else 0,
            lost=self._positions.lost if self._positions else 0,
            heartbeat_age_s=self.heartbeat_age_s,
            audio_s=self._totals.audio_s,
            oldest_s=self._tracker.oldest_s(time.time()),
            lag=self._lag if self._has_first_partition() else None,
        )

    def on_commit(self, listener: Callable[[Sequence[PendingRecord]], None]) -> None:
        """Have `listener` told of the records of each commit, on the poll thread."""
        self._totals.listener = listener

    def on_quality(self, listener: Callable[[Sequence[Gauge]], None]) -> None:
        """Have `listener` told what `stream.quality` finds, on a thread of its own."""
        self._tell_quality = listener

    def run(self) -> int:
        """Work until `stop`, or until it cannot go on. Blocks; call it once.

        Returns:
            A code of `workers.exit_codes`: `OK` after `stop`, `UNREACHABLE` where no broker
            answers at the start, `SETTINGS` for a missing topic, a refused option or missing
            rights, `DEAD_LETTER_LIMIT`, `LOG_CHANGED`, and `RESTART` when another worker has taken
            this instance's place. The log says what to do. When a call of the Kafka client hangs,
            the *process* ends with `RESTART`.
        """
        try:
            with ExitStack() as closing:
                self._loop = self._open(closing)
                progress = ProgressLog(self._totals, lambda: self._tracker.pending_records)
                try:
                    while not self._stop.is_set():
                        self._loop.turn()
                        progress.turn()
                except (LogChangedError, UnreadableBatchError):
                    self._loop.finish(self._stream.drain_timeout_s)  # of other partitions
                    raise
                self._loop.finish(self._stream.drain_timeout_s)
        except ENDINGS as error:
            code, said = ending(error, self._kafka, self._stream, self._instance)
            log.error("%s", said)
            return code
        log.info("worker %s stopped: %s", self._instance, progress.told())
        return exit_codes.OK

    def _open(self, closing: ExitStack) -> PollLoop:
        """Make and join the parts; `closing` closes them in the opposite order."""
        # longer than any transaction: a commit after that is refused by the broker in any case
        watchdog = Watchdog(2 * self._stream.transaction_timeout_s + 30)
        closing.callback(watchdog.stop)
        self._check_topics()
        consumer = self._make_consumer()
        closing.callback(_close, consumer)
        publisher = Publisher(self._clients, self._kafka, self._stream, self._instance, watchdog)
        closing.callback(publisher.close)
        closing.callback(self._dispatcher.stop)
        watch = BacklogWatch(
            BacklogCounter(self._stream),
            mine=self._has_first_partition,
            look=self._clients.group_offsets,
            tell=self._take_backlog,
        )
        closing.callback(watch.stop)
        publisher.open()  # before the offsets are read: it settles what was left open
        self._dispatcher.start()
        watch.start()
        if self._stream.quality is not None:
            quality = QualityWatch(
                self._settings, mine=self._has_first_partition, tell=self._tell_quality
            )
            closing.callback(quality.stop)
            quality.start()

        lists = ListBuilder(self._stream.batch_records, LINGER_S)
        forget_stale = partial(lists.discard, self._tracker.current)
        backpressure = Backpressure(self._stream, self._tracker)
        topic = self._kafka.topics.manifests
        self._positions = StartPositions(consumer, topic, self._tracker, self._stream.on_log_change)
        cycle = CommitCycle(
            self._stream,
            consumer,
            publisher,
            self._tracker,
            backpressure,
            forget_stale,
            self._positions.establish,
            self._totals,
        )
        closing.callback(cycle.close)
        loop = PollLoop(
            consumer,
            self._tracker,
            lists,
            self._dispatcher,
            cycle,
            self._positions,
            backpressure,
            watchdog,
            group=self._kafka.group,
        )
        listener = RebalanceListener(
            self._tracker,
            cycle,
            loop.collect,
            forget_stale,
            timeout_s=self._stream.session_timeout_s / 3,
        )
        consumer.subscribe([topic], listener=listener)
        log.info(
            "worker %s reads %s as group %s, from the brokers at %s",
            self._instance,
            topic,
            self._kafka.group,
            ", ".join(self._kafka.bootstrap_servers),
        )
        return loop

    def _take_backlog(self, backlog: Backlog) -> None:
        self._lag = backlog.records
        self._dispatcher.tell(backlog)

    def _has_first_partition(self) -> bool:
        return TopicPartition(self._kafka.topics.manifests, 0) in self._tracker.assigned

    def _check_topics(self) -> None:
        topics = self._kafka.topics
        check_topics(topics, self._clients.topics([topics.manifests, *outputs_of(topics)]))

    def _make_consumer(self) -> Consumer:
        name = f"{self._kafka.group}-{self._instance}"
        session_ms = int(self._stream.session_timeout_s * 1e3)
        return self._clients.consumer(
            group_id=self._kafka.group,
            group_instance_id=name,
            client_id=name,
            auto_offset_reset="none",  # see `start_positions`
            partition_assignment_strategy=[CooperativeStickyAssignor()],
            session_timeout_ms=session_ms,
            # a member learns of a rebalance, which takes two rounds, by its next heartbeat
            heartbeat_interval_ms=max(500, min(1_000, session_ms // 5)),
            max_poll_interval_ms=max(60_000, 4 * session_ms),
            max_poll_records=MAX_POLL_RECORDS,
            fetch_max_bytes=min(50 << 20, self._stream.max_pending_bytes),
        )


def _close(consumer: Consumer) -> None:
    try:
        consumer.close(autocommit=False, timeout_ms=_CLOSE_TIMEOUT_S * 1e3)
    except Exception as error:  # nothing depends on it: the offsets are committed
        log.warning("closing the consumer: %s", type(error).__name__)
