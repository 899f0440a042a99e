from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import OffsetAndMetadata, TopicPartition

from tests.workers.stream.support import a_pending_record
from workers.stream.offset_tracker import OffsetTracker
from workers.stream.pending_record import PendingRecord

TP = TopicPartition("in", 0)
OTHER = TopicPartition("in", 1)


def at(offset: int, leader_epoch: int = -1, metadata: str = "") -> OffsetAndMetadata:
    return OffsetAndMetadata(offset, metadata, leader_epoch)


def assign(tracker: OffsetTracker, tp: TopicPartition, start: int = 0) -> None:
    tracker.assign([tp])
    tracker.start(tp, at(start))


def tracker_with(*offsets: int) -> tuple[OffsetTracker, list[PendingRecord]]:
    tracker = OffsetTracker()
    assign(tracker, TP)
    records = [a_pending_record(offset=offset) for offset in offsets]
    for record in records:
        tracker.deliver(record)
    return tracker, records


@given(data=st.data())
def test_commits_never_pass_an_unfinished_message_and_leave_none_out(data: st.DataObject) -> None:
    """Any gaps, any order of completion, any moments of commit."""
    gaps = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=30))
    offsets = [sum(gaps[: i + 1]) for i in range(len(gaps))]
    tracker, records = tracker_with(*offsets)
    order = data.draw(st.permutations(records))
    committed = []
    for record in order:
        assert tracker.complete(record)
        if data.draw(st.booleans()):
            taken = tracker.take()
            committed += taken.records
            unfinished = [other.offset for other in records if not other.done]
            expected = min(unfinished, default=offsets[-1] + 1)
            assert tracker.committable(TP) == at(expected)
            if taken.offsets:
                assert taken.offsets == {TP: at(expected)}
            assert all(done.offset < expected for done in taken.records)
            tracker.settle(taken)
    taken = tracker.take()
    tracker.settle(taken)
    assert committed + taken.records == records  # in order, each once
    assert (tracker.pending_records, tracker.pending_bytes) == (0, 0)


def test_nothing_to_commit_until_the_first_message_is_done() -> None:
    tracker, records = tracker_with(3, 4)
    tracker.complete(records[1])
    assert tracker.take().offsets == {}
    assert tracker.committable(TP) == at(3)
    tracker.complete(records[0])
    assert tracker.take().offsets == {TP: at(5)}


def test_a_gap_is_committed_as_the_next_delivered_offset() -> None:
    tracker, records = tracker_with(3, 7)
    tracker.complete(records[0])
    assert tracker.take().offsets == {TP: at(7)}


def test_markers_behind_the_last_message_are_passed() -> None:
    tracker, (record,) = tracker_with(3)
    tracker.complete(record)
    tracker.settle(tracker.take())
    assert tracker.advance(TP, at(5))
    assert not tracker.advance(TP, at(5))
    taken = tracker.take()
    assert (taken.offsets, taken.records) == ({TP: at(5)}, [])
    assert tracker.take().offsets == {}


def test_where_a_partition_starts_is_no_commit_but_what_is_passed_without_a_message() -> None:
    tracker = OffsetTracker()
    assign(tracker, TP, start=17)
    assert not tracker.advance(TP, at(17))
    assert tracker.take().offsets == {}
    assert tracker.advance(TP, at(19, leader_epoch=2))
    assert tracker.take().offsets == {TP: at(19, leader_epoch=2)}


def test_a_commit_names_the_leader_epoch_of_the_last_message_before_it_and_the_log() -> None:
    tracker = OffsetTracker()
    tracker.assign([TP])
    tracker.start(TP, at(5, 1, "the log"))
    assert tracker.committable(TP) == at(5, 1, "the log")
    records = [a_pending_record(offset=offset) for offset in (5, 6, 8)]
    for record, epoch in zip(records, (2, 2, 4), strict=True):
        record.leader_epoch = epoch
        tracker.deliver(record)
    assert tracker.committable(TP) == at(5, 1, "the log")
    for record, expected in zip(records, [(6, 2), (8, 2), (9, 4)], strict=True):
        tracker.complete(record)
        assert tracker.take().offsets == {TP: at(*expected, "the log")}


def test_nothing_is_delivered_before_the_start() -> None:
    tracker = OffsetTracker()
    tracker.assign([TP])
    assert tracker.unstarted == [TP]
    assert not tracker.advance(TP, at(3))
    assert tracker.take().offsets == {}
    with pytest.raises(ValueError, match="in-0-0"):
        tracker.deliver(a_pending_record())
    tracker.start(TP, at(0))
    assert tracker.unstarted == []
    tracker.deliver(a_pending_record())


def test_results_of_an_earlier_assignment_are_stale() -> None:
    tracker, (old,) = tracker_with(0)
    tracker.revoke([TP])
    assert not tracker.current(old)
    assign(tracker, TP)
    new = a_pending_record(offset=0)
    tracker.deliver(new)
    assert not tracker.complete(old)
    assert tracker.take().offsets == {}
    assert tracker.complete(new)
    assert tracker.take().records == [new]


def test_settling_a_commit_of_an_earlier_assignment_changes_nothing() -> None:
    tracker, (record,) = tracker_with(0)
    tracker.complete(record)
    taken = tracker.take()
    assign(tracker, TP)
    tracker.deliver(a_pending_record(offset=0))
    tracker.settle(taken)
    assert tracker.pending(TP) == (1, 100)
    assert tracker.pending_records == 1


def test_an_outcome_counts_once() -> None:
    tracker, (record,) = tracker_with(0)
    assert tracker.complete(record)
    assert not tracker.complete(record)
    assert len(tracker.take().records) == 1


def test_taken_messages_stay_pending_until_settled() -> None:
    tracker, records = tracker_with(0, 1)
    for record in records:
        tracker.complete(record)
    taken = tracker.take()
    assert tracker.pending(TP) == (2, 200)
    tracker.settle(taken)
    assert tracker.pending(TP) == (0, 0)


def test_partitions_are_taken_apart() -> None:
    tracker, (record,) = tracker_with(0)
    assign(tracker, OTHER)
    other = a_pending_record(partition=1, offset=9)
    tracker.deliver(other)
    tracker.complete(record)
    tracker.complete(other)
    assert tracker.take([OTHER]).offsets == {OTHER: at(10)}
    assert tracker.take().offsets == {TP: at(1)}


def test_a_message_that_comes_twice_is_refused() -> None:
    tracker, _ = tracker_with(5)
    with pytest.raises(ValueError, match="in-0-5"):
        tracker.deliver(a_pending_record(offset=5))
