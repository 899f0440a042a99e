from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition

from tests.workers.stream.support import a_work
from workers.stream.offsets import OffsetTracker

TP = TopicPartition("in", 0)
OTHER = TopicPartition("in", 1)


def tracker_with(*offsets: int) -> tuple[OffsetTracker, list]:
    tracker = OffsetTracker()
    tracker.assign([TP])
    works = [a_work(offset=offset) for offset in offsets]
    for work in works:
        tracker.deliver(work)
    return tracker, works


@given(data=st.data())
def test_commits_never_pass_an_unfinished_message_and_leave_none_out(data):
    """Any gaps, any order of completion, any moments of commit."""
    gaps = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=30))
    offsets = [sum(gaps[: i + 1]) for i in range(len(gaps))]
    tracker, works = tracker_with(*offsets)
    order = data.draw(st.permutations(works))
    committed = []
    for work in order:
        assert tracker.complete(work)
        if data.draw(st.booleans()):
            taken = tracker.take()
            committed += taken.works
            unfinished = [other.offset for other in works if not other.done]
            expected = min(unfinished, default=offsets[-1] + 1)
            assert tracker.committable(TP) == expected
            if taken.offsets:
                assert taken.offsets == {TP: expected}
            assert all(done.offset < expected for done in taken.works)
            tracker.settle(taken)
    taken = tracker.take()
    tracker.settle(taken)
    assert committed + taken.works == works  # in order, each once
    assert (tracker.records, tracker.bytes) == (0, 0)


def test_nothing_to_commit_until_the_first_message_is_done():
    tracker, works = tracker_with(3, 4)
    tracker.complete(works[1])
    assert tracker.take().offsets == {}
    assert tracker.committable(TP) == 3
    tracker.complete(works[0])
    assert tracker.take().offsets == {TP: 5}


def test_a_gap_is_committed_as_the_next_delivered_offset():
    tracker, works = tracker_with(3, 7)
    tracker.complete(works[0])
    assert tracker.take().offsets == {TP: 7}


def test_markers_behind_the_last_message_are_passed():
    tracker, (work,) = tracker_with(3)
    tracker.complete(work)
    tracker.settle(tracker.take())
    assert tracker.advance(TP, 5)
    assert not tracker.advance(TP, 5)
    taken = tracker.take()
    assert (taken.offsets, taken.works) == ({TP: 5}, [])
    assert tracker.take().offsets == {}


def test_a_position_before_the_first_message_is_no_commit():
    tracker = OffsetTracker()
    tracker.assign([TP])
    assert not tracker.advance(TP, 17)
    assert tracker.take().offsets == {}


def test_results_of_an_earlier_assignment_are_stale():
    tracker, (old,) = tracker_with(0)
    tracker.revoke([TP])
    assert not tracker.current(old)
    tracker.assign([TP])
    new = a_work(offset=0)
    tracker.deliver(new)
    assert not tracker.complete(old)
    assert tracker.take().offsets == {}
    assert tracker.complete(new)
    assert tracker.take().works == [new]


def test_settling_a_commit_of_an_earlier_assignment_changes_nothing():
    tracker, (work,) = tracker_with(0)
    tracker.complete(work)
    taken = tracker.take()
    tracker.assign([TP])
    tracker.deliver(a_work(offset=0))
    tracker.settle(taken)
    assert tracker.pending(TP) == (1, 100)
    assert tracker.records == 1


def test_an_outcome_counts_once():
    tracker, (work,) = tracker_with(0)
    assert tracker.complete(work)
    assert not tracker.complete(work)
    assert len(tracker.take().works) == 1


def test_taken_messages_stay_pending_until_settled():
    tracker, works = tracker_with(0, 1)
    for work in works:
        tracker.complete(work)
    taken = tracker.take()
    assert tracker.pending(TP) == (2, 200)
    tracker.settle(taken)
    assert tracker.pending(TP) == (0, 0)


def test_partitions_are_taken_apart():
    tracker, (work,) = tracker_with(0)
    tracker.assign([OTHER])
    other = a_work(partition=1, offset=9)
    tracker.deliver(other)
    tracker.complete(work)
    tracker.complete(other)
    assert tracker.take([OTHER]).offsets == {OTHER: 10}
    assert tracker.take().offsets == {TP: 1}


def test_a_message_that_comes_twice_is_refused():
    tracker, _ = tracker_with(5)
    with pytest.raises(ValueError, match="in-0-5"):
        tracker.deliver(a_work(offset=5))
