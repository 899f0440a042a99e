"""Committing what is finished, and going back to the committed offsets when that failed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from enum import StrEnum

from kafka import TopicPartition
from kafka.errors import KafkaError
from kafka.structs import ConsumerGroupMetadata, MemberState

from schemas.settings import SettingsError, StreamSettings
from schemas.transcript import Transcript
from workers.kafka.errors import REFUSALS, refusal_in
from workers.kafka.protocols import Consumer
from workers.stream import tracing
from workers.stream.acknowledged_offsets import AcknowledgedOffsets
from workers.stream.backoff import Backoff
from workers.stream.backpressure import Backpressure
from workers.stream.commit_schedule import CommitSchedule
from workers.stream.dead_letter_limit import DeadLetterLimit
from workers.stream.offset_tracker import CompletedPrefix, OffsetTracker
from workers.stream.pending_record import PendingRecord
from workers.stream.publisher import Publisher, PublishError

log = logging.getLogger(__name__)


class CommitState(StrEnum):
    """What the commit cycle is doing."""

    IDLE = "idle"
    PUBLISHING = "publishing"
    REOPENING = "reopening"
    REWINDING = "rewinding"
    ENDED = "ended"


class CommitEvent(StrEnum):
    """What moves the commit cycle from one state to another."""

    STARTED = "started"
    LIMIT_CROSSED = "limit crossed"
    COMMITTED = "committed"
    OPENED = "opened"
    REWOUND = "rewound"
    FAILED = "failed"
    REFUSED = "refused"
    CLOSED = "closed"


#: The next state by state and event; see the table in `CommitCycle`. CLOSED ends every state.
TRANSITIONS: dict[tuple[CommitState, CommitEvent], CommitState] = {
    (CommitState.IDLE, CommitEvent.STARTED): CommitState.PUBLISHING,
    (CommitState.IDLE, CommitEvent.LIMIT_CROSSED): CommitState.ENDED,
    (CommitState.PUBLISHING, CommitEvent.COMMITTED): CommitState.IDLE,
    (CommitState.PUBLISHING, CommitEvent.FAILED): CommitState.REOPENING,
    (CommitState.PUBLISHING, CommitEvent.REFUSED): CommitState.ENDED,
    (CommitState.REOPENING, CommitEvent.OPENED): CommitState.REWINDING,
    (CommitState.REOPENING, CommitEvent.FAILED): CommitState.REOPENING,
    (CommitState.REOPENING, CommitEvent.REFUSED): CommitState.ENDED,
    (CommitState.REWINDING, CommitEvent.REWOUND): CommitState.IDLE,
    (CommitState.REWINDING, CommitEvent.FAILED): CommitState.REWINDING,
    (CommitState.REWINDING, CommitEvent.REFUSED): CommitState.ENDED,
    **{(state, CommitEvent.CLOSED): CommitState.ENDED for state in CommitState},
}


class DeadLetterLimitError(Exception):
    """The next commit would hold too many dead letters; the message names the limit."""


@dataclass(slots=True)
class CommitTotals:
    """What has been committed since the start.

    Attributes:
        transcribed, dead_lettered: records committed.
        audio_s: seconds of audio of the transcribed ones.
        commits: commits that succeeded.
        recoveries: commits that failed, after each of which the worker went back.
        listener: told of the records of each commit.
    """

    transcribed: int = 0
    dead_lettered: int = 0
    audio_s: float = 0.0
    commits: int = 0
    recoveries: int = 0
    listener: Callable[[Sequence[PendingRecord]], None] | None = None

    def count(self, records: Sequence[PendingRecord]) -> None:
        """Count a commit of `records`."""
        self.commits += 1
        for record in records:
            if isinstance(record.outcome, Transcript):
                self.transcribed += 1
                self.audio_s += record.outcome.transcribed_seconds
            else:
                self.dead_lettered += 1
        if self.listener is not None:
            self.listener(records)


class CommitCycle:
    """Commits the completed prefixes, one commit at a time, and recovers when one fails.

    It never waits, except in `hand_over`: `step` and `begin` are called in every turn of the poll
    loop, and each does what can be done at once. Whenever it is not certain that a transaction was
    committed, all uncommitted records are forgotten, the publisher gets a new producer (which
    settles the old transaction one way or the other), and the consumer goes back to the offsets
    that the broker reports.

    ==========  =============  ==========  ======================================================
    State       Event          Next state  What is done
    ==========  =============  ==========  ======================================================
    idle        started        publishing  the completed prefixes are handed to the publisher
    idle        limit crossed  ended       nothing is committed; `failure` names the limit
    publishing  committed      idle        the records are settled and counted
    publishing  failed         reopening   uncommitted records are forgotten; a new producer
    publishing  refused        ended       a right is missing, or another worker has our place
    reopening   opened         rewinding   the next step reads the committed offsets
    reopening   failed         reopening   a new producer again, after a longer pause
    reopening   refused        ended       the broker or the settings rule out any producer
    rewinding   rewound        idle        the consumer stands at the committed offsets
    rewinding   failed         rewinding   the next step tries again
    rewinding   refused        ended       the offsets may not be read any more
    any         closed         ended       `close` was called
    ==========  =============  ==========  ======================================================

    Args:
        stream: the intervals and limits.
        consumer: of the manifest topic. Used from the poll thread alone, except that a rebalance
            listener calls `hand_over`.
        publisher: writes outputs and offsets.
        tracker: knows what is complete.
        backpressure: knows a partition's share.
        forget_stale: called after the tracker has forgotten records, so that others do too.
        establish: lets the consumer stand at the committed offsets (`StartPositions.establish`).
        totals: counted up here.
        clock: monotonic time in seconds.

    Attributes:
        state: what it is doing.
        failure: why it has ended: `DeadLetterLimitError`, or an error of the broker or of the
            settings that no new producer helps against. None otherwise.
    """

    def __init__(
        self,
        stream: StreamSettings,
        consumer: Consumer,
        publisher: Publisher,
        tracker: OffsetTracker,
        backpressure: Backpressure,
        forget_stale: Callable[[], None],
        establish: Callable[[], None],
        totals: CommitTotals,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.state = CommitState.IDLE
        self.failure: Exception | None = None
        self._consumer = consumer
        self._publisher = publisher
        self._tracker = tracker
        self._schedule = CommitSchedule(stream, tracker, backpressure, clock)
        self._forget_stale = forget_stale
        self._establish = establish
        self._totals = totals
        self._clock = clock
        self._limit = DeadLetterLimit(
            stream.max_dead_letter_ratio,
            stream.dead_letter_window,
            stream.max_consecutive_dead_letters,
        )
        self._backoff = Backoff(stream.retry_initial_s, stream.retry_max_s)
        self._acknowledged = (
            AcknowledgedOffsets(consumer, tracker) if stream.guarantee == "at_least_once" else None
        )
        self._prefix: CompletedPrefix  # of the commit under way
        self._published: Future[None]
        self._reopened: Future[None]
        self._failures = 0  # of commits and of attempts to reopen, in a row

    @property
    def recovering(self) -> bool:
        """Whether it is on its way back to the committed offsets; nothing may be fetched then."""
        return self.state in (CommitState.REOPENING, CommitState.REWINDING)

    @property
    def settled(self) -> bool:
        """Whether everything that is complete is committed, with nothing under way."""
        ready = any(self._tracker.ready(tp) for tp in self._tracker.assigned)
        return self.state is not CommitState.PUBLISHING and not ready

    def result_ready(self) -> None:
        """There is something to commit: see `CommitSchedule`."""
        self._schedule.result_ready()

    def step(self) -> None:
        """Take in what has ended since the last call: a commit, the opening of a producer.

        Raises:
            kafka.errors.KafkaError: at least once: the broker refuses the offsets for good.
        """
        if self._acknowledged is not None:
            self._acknowledged.raise_refusal()
        if self.state is CommitState.PUBLISHING:
            self._end_publishing(timeout_s=0.0)
        if self.state is CommitState.REOPENING:
            self._end_reopening()
        if self.state is CommitState.REWINDING:
            self._rewind()

    def begin(self, *, now: bool = False) -> None:
        """Start a commit if one is due.

        Args:
            now: start one even though it is not due.
        """
        if self.state is not CommitState.IDLE or not (now or self._schedule.due):
            return
        metadata = self._consumer.group_metadata()
        if metadata.state is not MemberState.STABLE:
            return  # in a rebalance the broker may refuse; it ends soon
        prefix = self._tracker.take()
        self._schedule.begin()
        if prefix.offsets:
            self._publish(prefix, metadata)

    def hand_over(
        self,
        partitions: Collection[TopicPartition],
        collect: Callable[[], None],
        timeout_s: float,
    ) -> None:
        """Commit what is done of `partitions`, which are about to be taken away.

        Args:
            partitions: that will be revoked.
            collect: takes in finished records; called after the commit under way has ended.
            timeout_s: longest wait. A commit that takes longer goes on; if it comes too late, the
                broker refuses it, and the partitions' next owner does the work again.
        """
        deadline = self._clock() + timeout_s
        if self.state is CommitState.PUBLISHING:
            self._end_publishing(timeout_s)
        collect()
        if self.state is CommitState.IDLE:
            prefix = self._tracker.take(partitions)
            if prefix.offsets:
                self._publish(prefix, self._consumer.group_metadata())
        if self.state is CommitState.PUBLISHING:
            self._end_publishing(max(0.0, deadline - self._clock()))

    def flush_offsets(self, timeout_s: float) -> None:
        """At least once: make sure of the offsets that were committed without waiting.

        Raises:
            kafka.errors.KafkaError: they are not committed.
        """
        if self._acknowledged is not None:
            self._acknowledged.commit(timeout_s)

    def close(self) -> None:
        """Start nothing any more, also not in `hand_over`."""
        self._on(CommitEvent.CLOSED)

    def _on(self, event: CommitEvent) -> None:
        self.state = TRANSITIONS[self.state, event]

    def _end(self, event: CommitEvent, failure: Exception) -> None:
        self.failure = failure
        self._on(event)

    # -- idle -> publishing -> idle

    def _publish(self, prefix: CompletedPrefix, metadata: ConsumerGroupMetadata) -> None:
        reason = self._limit.exceeded(record.dead for record in prefix.records)
        if reason is not None:
            self._end(CommitEvent.LIMIT_CROSSED, _limit_error(reason, prefix))
            return
        self._prefix = prefix
        self._published = self._publisher.publish(prefix, metadata)
        self._on(CommitEvent.STARTED)

    def _end_publishing(self, timeout_s: float) -> None:
        try:
            self._published.result(timeout=timeout_s)
        except FutureTimeout:
            return
        except PublishError as error:
            refusal = refusal_in(error)
            if refusal is not None:
                self._end(CommitEvent.REFUSED, refusal)
                return
            log.warning("a commit failed; going back to the committed offsets: %s", error)
            self._go_back()
            return
        self._settle(self._prefix)
        self._on(CommitEvent.COMMITTED)

    def _settle(self, prefix: CompletedPrefix) -> None:
        if self._acknowledged is not None:
            self._acknowledged.commit_soon(prefix.offsets)
        self._tracker.settle(prefix)
        self._limit.accept([record.dead for record in prefix.records])
        self._failures = 0
        self._totals.count(prefix.records)
        tracing.end(prefix.records)

    # -- publishing -> reopening -> rewinding -> idle

    def _go_back(self) -> None:
        self._totals.recoveries += 1
        self._schedule.begin()
        self._tracker.assign(list(self._tracker.assigned))
        self._forget_stale()
        self._reopen()

    def _reopen(self) -> None:
        self._failures += 1
        delay_s = 0.0 if self._failures == 1 else self._backoff.delay_s(self._failures)
        self._reopened = self._publisher.open_later(
            delay_s, lambda: self._consumer.group_metadata().member_id
        )
        self._on(CommitEvent.FAILED)

    def _end_reopening(self) -> None:
        if not self._reopened.done():
            return
        error = self._reopened.exception()
        if isinstance(error, (*REFUSALS, SettingsError)):
            self._end(CommitEvent.REFUSED, error)
        elif error is not None:
            log.warning("no producer yet, trying again: %s", error)
            self._reopen()
        else:
            self._on(CommitEvent.OPENED)

    def _rewind(self) -> None:
        try:
            self._establish()
        except REFUSALS as refusal:
            self._end(CommitEvent.REFUSED, refusal)
            return
        except KafkaError as failure:
            log.warning("reading the offsets failed, trying again: %s", type(failure).__name__)
            self._on(CommitEvent.FAILED)
            return
        self._on(CommitEvent.REWOUND)


def _limit_error(reason: str, prefix: CompletedPrefix) -> DeadLetterLimitError:
    first = next(record for record in prefix.records if record.dead)
    return DeadLetterLimitError(
        f"{reason}. Stopping before they are committed. Look at message {first.name} and its "
        f"followers ({first.error.code if first.error else ''}), mend the cause or raise the "
        "limit, and start again"
    )
