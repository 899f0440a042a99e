"""Where the reading of each partition starts, and what to do when its log has changed since.

A committed offset says which records of *one* log are done. The log can change behind it: retention
or an operator deletes records that were not read yet, an unclean leader election cuts off records
that were read and reuses their offsets, or the topic is deleted and created again. From there on an
offset alone would skip new records or repeat old ones without a word. So every committed offset
carries what identifies its log: the topic's id, as metadata, and the leader epoch of the record
before it, by which the broker recognises a log that was cut off (KIP-320).

The consumer has no `auto_offset_reset`: it reports an offset that its log does not have. The
partition then rests until what was read before is committed, and starts anew here.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from kafka import OffsetAndMetadata, TopicPartition
from kafka.errors import (
    KafkaError,
    LogTruncationError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)

from workers.kafka.protocols import Consumer
from workers.stream.offset_tracker import OffsetTracker

log = logging.getLogger(__name__)

#: Longest wait for each answer of a broker in milliseconds.
_ANSWER_MS = 5_000.0

_TOPIC_ID = "topic-id="


class LogChangeKind(StrEnum):
    """What has happened to the log of a partition."""

    TRIMMED = "trimmed"
    TRUNCATED = "truncated"
    RECREATED = "recreated"


@dataclass(frozen=True, slots=True)
class _Report:
    """What is known of a change before the partition has come to rest.

    Attributes:
        offset: that its log does not have; None where something else is the matter.
        truncated: whether other records than those that were read are in the log now, ...
        diverges_at: ... and from where on, if the brokers know it.
    """

    offset: int | None = None
    truncated: bool = False
    diverges_at: OffsetAndMetadata | None = None


@dataclass(frozen=True, slots=True)
class LogChange:
    """A log that is not the one which an offset was committed for.

    Attributes:
        partition: whose log it is.
        kind: trimmed, its records were deleted before they were read; truncated, records that were
            read are gone and others have or will have their offsets; or recreated, with its topic.
        offset: that would be read next.
        start, end: first offset of the log now, and the offset after its last one.
        resume: where reading can go on without repeating a record, and the leader epoch there.
            Where it is not known from where on a log was cut off, it is the end.
        known: whether the offset from which on it was cut off is known.
    """

    partition: TopicPartition
    kind: LogChangeKind
    offset: int
    start: int
    end: int
    resume: OffsetAndMetadata
    known: bool = True

    @property
    def lost(self) -> int:
        """Offsets that were deleted before they were read; transaction markers count as well."""
        return self.resume.offset - self.offset if self.kind is LogChangeKind.TRIMMED else 0

    def __str__(self) -> str:
        name = f"{self.partition.topic}-{self.partition.partition}"
        now = f"it has offsets {self.start} to {self.end - 1} now"
        if self.start >= self.end:
            now = "it is empty now"
        match self.kind:
            case LogChangeKind.TRIMMED:
                what = f"{self.lost} of its offsets were deleted before they were read"
            case LogChangeKind.TRUNCATED:
                since = (
                    f"from offset {self.resume.offset} on" if self.known else "nobody knows where"
                )
                what = f"records that were read were cut off it, {since}"
            case LogChangeKind.RECREATED:
                what = "its topic was deleted and created again"
        return f"{name}: {what} ({self.offset} would be read next, {now})"


class LogChangedError(Exception):
    """The log of a partition has changed, and the settings do not allow to go on by itself."""

    def __init__(self, changes: list[LogChange]) -> None:
        self.changes = changes
        super().__init__(
            "; ".join(map(str, changes))
            + ". Everything that was read before is committed. Decide where to go on with "
            "`chorus offsets set`, or let workers go on by themselves with "
            "`stream.on_log_change: resume`, and start again"
        )


class StartPositions:
    """Starts the partitions that are assigned but not yet read.

    Args:
        consumer: of the manifest topic; used from the poll thread alone.
        topic: the manifest topic.
        tracker: knows which partitions are not started, and what is pending.
        on_change: "stop" raises where a log has changed, "resume" goes on where no record is
            repeated, with a warning.

    Attributes:
        changes: how many changed logs were resumed.
        lost: records that were deleted from them before they were read.
    """

    def __init__(
        self,
        consumer: Consumer,
        topic: str,
        tracker: OffsetTracker,
        on_change: Literal["stop", "resume"],
    ) -> None:
        self.changes = 0
        self.lost = 0
        self._consumer = consumer
        self._topic = topic
        self._tracker = tracker
        self._on_change = on_change
        self._topic_id = ""
        self._known_id = ""  # the topic's when this worker began ...
        self._known_ids: dict[TopicPartition, str] = {}  # ... or when the partition was started
        self._reported: dict[TopicPartition, _Report] = {}

    @property
    def waiting(self) -> set[TopicPartition]:
        """Assigned partitions that may not be read yet; what was fetched of them is void."""
        return {*self._tracker.unstarted, *self._reported}

    def report(self, error: KafkaError) -> bool:
        """Take in what a poll raised; False where it says nothing about start positions."""
        match error:
            case NoOffsetForPartitionError():
                return True  # the partitions are not started
            case LogTruncationError(divergent_offsets=found):
                self._report({tp: _Report(None, True, at) for tp, at in found.items()})
            case OffsetOutOfRangeError(args=(dict(found), *_)):
                self._report({tp: _Report(offset) for tp, offset in found.items()})
            case _:
                return False
        return True

    def establish(self) -> None:
        """Start what waits; a partition with a changed log once its pending records are committed.

        Raises:
            LogChangedError: a log has changed, and `on_change` is "stop".
            KafkaError: the broker did not answer; to be called again.
        """
        for tp in self._reported.keys() - self._tracker.assigned:
            del self._reported[tp]
        settled = [tp for tp in self._reported if self._tracker.pending(tp)[0] == 0]
        self._tracker.assign(settled)
        self._look_at_the_topic(fresh=bool(settled))
        changes = [change for tp in self._tracker.unstarted if (change := self._start(tp))]
        if changes:
            raise LogChangedError(changes)

    def _report(self, reports: dict[TopicPartition, _Report]) -> None:
        for tp, report in reports.items():
            if tp in self._tracker.assigned and tp not in self._reported:
                self._reported[tp] = report
                pending, _ = self._tracker.pending(tp)
                awaited = (
                    f"the records read before are committed ({pending})"
                    if pending
                    else "the brokers say what it holds now"
                )
                log.warning("the log of %s-%d has changed; it rests until %s", *tp, awaited)

    def _look_at_the_topic(self, *, fresh: bool) -> None:
        """Notice a topic that was deleted and created again while it is being read."""
        timeout_ms = _ANSWER_MS if fresh else None
        found = self._consumer.topic_id(self._topic, refresh_timeout_ms=timeout_ms)
        if self._topic_id and found and found != self._topic_id:
            self._report(dict.fromkeys(self._tracker.assigned, _Report()))
        self._topic_id = found or self._topic_id
        self._known_id = self._known_id or self._topic_id

    def _start(self, tp: TopicPartition) -> LogChange | None:
        """Let the consumer read `tp` from its committed offset; what stands in the way, if any."""
        if tp not in self._consumer.assignment():
            return None  # it is about to be revoked
        metadata = f"{_TOPIC_ID}{self._topic_id}" if self._topic_id else ""
        committed = self._consumer.committed(tp, metadata=True, timeout_ms=_ANSWER_MS)
        change = self._change(tp, committed)
        if change is not None:
            if self._on_change == "stop":
                return change
            log.warning("%s; going on at offset %d", change, change.resume.offset)
            self.changes += 1
            self.lost += change.lost
            committed = OffsetAndMetadata(
                change.resume.offset, metadata, change.resume.leader_epoch
            )
            self._consumer.commit({tp: committed}, timeout_ms=_ANSWER_MS)
        if committed is None:
            self._consumer.seek_to_beginning(tp)
            self._tracker.start(tp, OffsetAndMetadata(0, metadata, -1))
        else:
            self._consumer.seek_to(tp, committed)
            self._tracker.start(tp, committed._replace(metadata=metadata))
        self._reported.pop(tp, None)
        self._known_ids[tp] = self._topic_id
        return None

    def _change(self, tp: TopicPartition, committed: OffsetAndMetadata | None) -> LogChange | None:
        """How the log of `tp` differs from that of the `committed` offset; None: it does not."""
        recreated = self._recreated(tp, committed)
        report = self._reported.get(tp)
        if report is None:
            if not recreated:
                return None
            report = _Report()
        start, end = self._consumer.log_range(tp, timeout_ms=_ANSWER_MS)
        offset = committed.offset if committed else report.offset or 0
        begin = OffsetAndMetadata(start, "", -1)
        if recreated:
            return LogChange(tp, LogChangeKind.RECREATED, offset, start, end, begin)
        if offset < start:
            return LogChange(tp, LogChangeKind.TRIMMED, offset, start, end, begin)
        if report.truncated or offset > end:
            at, known = report.diverges_at, report.diverges_at is not None
            at = at or OffsetAndMetadata(end, "", -1)
            return LogChange(tp, LogChangeKind.TRUNCATED, offset, start, end, at, known)
        return None  # the offset that was reported is not the one that is committed

    def _recreated(self, tp: TopicPartition, committed: OffsetAndMetadata | None) -> bool:
        """Whether the log of `tp` is of another topic than the one that it was read from before.

        The broker forgets a topic's committed offsets with the topic. What others commit, without
        an id, is what they want.
        """
        if committed is None:
            return self._known_ids.get(tp, self._known_id) != self._topic_id
        found = committed.metadata.removeprefix(_TOPIC_ID)
        return found != committed.metadata and self._topic_id not in ("", found)
