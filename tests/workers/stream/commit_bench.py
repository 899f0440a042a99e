"""A commit cycle in the hands of a test: the publisher, the consumer and the clock are stubs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, cast

from kafka import OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaTimeoutError
from kafka.structs import MemberState

from schemas.failures import ErrorCode, RecordError
from schemas.settings import StreamSettings
from tests.workers.stream.support import a_pending_record, manifest_of, transcript_of
from workers.kafka.protocols import Consumer
from workers.stream.backpressure import Backpressure
from workers.stream.commit_cycle import CommitCycle, CommitState, CommitTotals
from workers.stream.offset_tracker import CompletedPrefix, OffsetTracker
from workers.stream.pending_record import PendingRecord
from workers.stream.publisher import Publisher, PublishError
from workers.stream.start_positions import StartPositions

FIRST, SECOND = TopicPartition("in", 0), TopicPartition("in", 1)


def at(offset: int, leader_epoch: int = -1, metadata: str = "") -> OffsetAndMetadata:
    return OffsetAndMetadata(offset, metadata, leader_epoch)


class StubPublisher:
    """Its futures are completed by the test."""

    def __init__(self) -> None:
        self.taken: list[CompletedPrefix] = []
        self.published: Future[None] = Future()
        self.reopened: Future[None] = Future()
        self.delays: list[float] = []

    def publish(self, taken: CompletedPrefix, group_metadata: object) -> Future[None]:
        self.taken.append(taken)
        self.published = Future()
        return self.published

    def open_later(self, delay_s: float, own_member: Callable[[], str]) -> Future[None]:
        assert own_member() == "me"
        self.delays.append(delay_s)
        self.reopened = Future()
        return self.reopened


class StubConsumer:
    def __init__(self, tracker: OffsetTracker) -> None:
        self.member_state = MemberState.STABLE
        self.offsets: dict[TopicPartition, OffsetAndMetadata] = {}
        self.unreachable = False
        self.sought: dict[TopicPartition, int | str] = {}
        self.ranges: dict[TopicPartition, tuple[int, int]] = {}
        self.id_of_topic = ""
        self.committed_later: list[dict[TopicPartition, int]] = []
        self._tracker = tracker

    def group_metadata(self) -> SimpleNamespace:
        return SimpleNamespace(state=self.member_state, member_id="me")

    def assignment(self) -> set[TopicPartition]:
        return set(self._tracker.assigned)

    def committed(
        self, tp: TopicPartition, *, metadata: bool, timeout_ms: float
    ) -> OffsetAndMetadata | None:
        assert metadata
        if self.unreachable:
            raise KafkaTimeoutError
        return self.offsets.get(tp)

    def topic_id(self, topic: str, *, refresh_timeout_ms: float | None = None) -> str:
        return self.id_of_topic

    def log_range(self, tp: TopicPartition, *, timeout_ms: float) -> tuple[int, int]:
        return self.ranges[tp]

    def seek_to(self, tp: TopicPartition, at: OffsetAndMetadata) -> None:
        self.sought[tp] = at.offset

    def seek_to_beginning(self, tp: TopicPartition) -> None:
        self.sought[tp] = "beginning"

    def commit_async(
        self, offsets: Mapping[TopicPartition, OffsetAndMetadata], callback: object
    ) -> None:
        self.committed_later.append({tp: at.offset for tp, at in offsets.items()})


class CommitBench:
    """A cycle with its surroundings, two partitions, and a clock."""

    def __init__(self, **stream: Any) -> None:
        given = {"commit_interval_s": 10.0, "commit_idle_s": 10.0, "retry_initial_s": 1.0}
        settings = StreamSettings(**{**given, "commit_records": 6, "batch_records": 2, **stream})
        self.now = 0.0
        self.tracker = OffsetTracker()
        self.tracker.assign([FIRST, SECOND])
        for tp in (FIRST, SECOND):
            self.tracker.start(tp, at(0))
        self.publisher = StubPublisher()
        self.consumer = StubConsumer(self.tracker)
        self.totals = CommitTotals()
        self.forgotten = 0
        consumer = cast("Consumer", self.consumer)
        self.positions = StartPositions(consumer, "in", self.tracker, settings.on_log_change)
        self.cycle = CommitCycle(
            settings,
            consumer,
            cast("Publisher", self.publisher),
            self.tracker,
            Backpressure(settings, self.tracker),
            self.forget,
            self.positions.establish,
            self.totals,
            clock=lambda: self.now,
        )
        self._next = {FIRST: 0, SECOND: 0}

    def state(self) -> CommitState:
        return self.cycle.state

    def forget(self) -> None:
        self.forgotten += 1

    def deliver(self, count: int = 1, tp: TopicPartition = FIRST) -> list[PendingRecord]:
        records: list[PendingRecord] = []
        if tp in self.tracker.unstarted:
            self.tracker.start(tp, at(self._next[tp]))
        for _ in range(count):
            record = a_pending_record(partition=tp.partition, offset=self._next[tp])
            self._next[tp] += 1
            self.tracker.deliver(record)
            records.append(record)
        return records

    def complete(self, records: list[PendingRecord], *, dead: bool = False) -> None:
        for record in records:
            if dead:
                record.error = RecordError(id="a", code=ErrorCode.AUDIO_MISSING, message="")
                record.outcome = record.error
            else:
                record.outcome = transcript_of(manifest_of(record))
            self.tracker.complete(record)
            self.cycle.result_ready()

    def commit(self, records: list[PendingRecord]) -> None:
        """Commit `records`."""
        self.complete(records)
        self.cycle.begin(now=True)
        self.publisher.published.set_result(None)
        self.cycle.step()
        assert self.state() is CommitState.IDLE

    def publishing(self) -> None:
        """A commit of one record is under way."""
        self.complete(self.deliver())
        self.cycle.begin(now=True)
        assert self.state() is CommitState.PUBLISHING

    def reopening(self) -> None:
        self.publishing()
        self.publisher.published.set_exception(PublishError("lost"))
        self.cycle.step()
        assert self.state() is CommitState.REOPENING
