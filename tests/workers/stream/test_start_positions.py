"""What a changed log means for one partition, without a cluster."""

from __future__ import annotations

import pytest
from kafka import TopicPartition
from kafka.errors import KafkaTimeoutError, LogTruncationError, OffsetOutOfRangeError

from tests.workers.stream.commit_bench import FIRST, SECOND, CommitBench, at
from workers.stream.start_positions import LogChange, LogChangedError, LogChangeKind


@pytest.fixture
def bench() -> CommitBench:
    bench = CommitBench()
    bench.consumer.id_of_topic = "new"
    bench.tracker.assign([FIRST])
    bench.consumer.ranges = {FIRST: (5, 20), SECOND: (0, 9)}
    return bench


def change_of(bench: CommitBench) -> LogChange:
    with pytest.raises(LogChangedError) as caught:
        bench.positions.establish()
    [change] = caught.value.changes
    return change


def test_the_offset_of_the_same_log_is_taken_with_its_leader_epoch(bench: CommitBench) -> None:
    bench.consumer.offsets = {FIRST: at(7, 3, "topic-id=new")}
    assert bench.positions.waiting == {FIRST}
    bench.positions.establish()
    assert bench.positions.waiting == set()
    assert bench.consumer.sought == {FIRST: 7}
    assert bench.tracker.committable(FIRST) == at(7, 3, "topic-id=new")


@pytest.mark.parametrize("metadata", ["", "somebody's note"])
def test_what_others_commit_is_what_they_want(bench: CommitBench, metadata: str) -> None:
    bench.consumer.offsets = {FIRST: at(7, -1, metadata)}
    bench.positions.establish()
    assert bench.tracker.committable(FIRST) == at(7, -1, "topic-id=new")


def test_the_offset_of_another_topic_of_this_name_is_not_taken(bench: CommitBench) -> None:
    bench.consumer.offsets = {FIRST: at(7, 3, "topic-id=old")}
    change = change_of(bench)
    assert (change.kind, change.resume) == (LogChangeKind.RECREATED, at(5))
    assert bench.positions.waiting == {FIRST}
    assert "in-0: its topic was deleted and created again (7 would be read next" in str(change)


def test_an_error_of_a_poll_that_says_nothing_about_the_log(bench: CommitBench) -> None:
    assert not bench.positions.report(KafkaTimeoutError())
    assert not bench.positions.report(OffsetOutOfRangeError("somewhere"))


def test_a_reported_partition_with_nothing_to_commit_waits_for_the_brokers(
    bench: CommitBench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.tracker.start(SECOND, at(0))
    assert bench.positions.report(OffsetOutOfRangeError({SECOND: 1}))
    assert "the log of in-1 has changed; it rests until the brokers say what" in caplog.text


def test_a_reported_partition_rests_until_its_records_are_committed(
    bench: CommitBench, caplog: pytest.LogCaptureFixture
) -> None:
    [record] = bench.deliver(1, SECOND)
    bench.consumer.offsets = {SECOND: at(0), FIRST: at(7)}
    assert bench.positions.report(OffsetOutOfRangeError({SECOND: 1}))
    assert "it rests until the records read before are committed (1)" in caplog.text
    bench.consumer.ranges[SECOND] = (4, 9)
    bench.positions.establish()
    assert bench.positions.waiting == {SECOND}
    assert bench.tracker.current(record)
    bench.commit([record])
    bench.consumer.offsets = {SECOND: at(1)}
    change = change_of(bench)
    assert change == LogChange(SECOND, LogChangeKind.TRIMMED, 1, 4, 9, at(4))
    assert change.lost == 3


@pytest.mark.parametrize(
    ("diverges_at", "resume", "said"),
    [(at(6, 2), at(6, 2), "from offset 6 on"), (None, at(20), "nobody knows where")],
)
def test_a_log_that_was_cut_off(
    bench: CommitBench, diverges_at: object, resume: object, said: str
) -> None:
    bench.consumer.offsets = {FIRST: at(7, 1)}
    bench.positions.establish()
    assert bench.positions.report(LogTruncationError({FIRST: diverges_at}))
    change = change_of(bench)
    assert (change.kind, change.resume, change.lost) == (LogChangeKind.TRUNCATED, resume, 0)
    assert said in str(change)


def test_an_offset_behind_the_end_belongs_to_a_log_that_was_cut_off(bench: CommitBench) -> None:
    bench.consumer.offsets = {FIRST: at(30)}
    bench.positions.establish()
    assert bench.positions.report(OffsetOutOfRangeError({FIRST: 30}))
    change = change_of(bench)
    assert (change.kind, change.known) == (LogChangeKind.TRUNCATED, False)


def test_a_report_that_is_out_of_date_is_dropped(bench: CommitBench) -> None:
    bench.consumer.offsets = {FIRST: at(7)}
    bench.positions.establish()
    assert bench.positions.report(OffsetOutOfRangeError({FIRST: 3}))
    assert bench.positions.report(OffsetOutOfRangeError({TopicPartition("in", 9): 3}))  # not ours
    bench.positions.establish()
    assert bench.positions.waiting == set()
    assert bench.consumer.sought == {FIRST: 7}
