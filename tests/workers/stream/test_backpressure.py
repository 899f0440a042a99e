from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from kafka import OffsetAndMetadata, TopicPartition

from schemas.settings import StreamSettings
from tests.workers.stream.support import a_pending_record
from workers.stream.backpressure import MAX_POLL_RECORDS, Backpressure
from workers.stream.offset_tracker import OffsetTracker

PARTITIONS = [TopicPartition("in", number) for number in range(3)]
FIRST, SECOND, THIRD = PARTITIONS


def with_pending(
    *counts: int, size: int = 100, **stream: Any
) -> tuple[Backpressure, OffsetTracker]:
    """As many pending records of `size` bytes per partition as `counts` says."""
    given = {"max_pending_records": 90, "max_pending_bytes": 1_000_000, "batch_records": 5}
    tracker = OffsetTracker()
    tracker.assign(PARTITIONS[: len(counts)])
    for tp in tracker.unstarted:
        tracker.start(tp, OffsetAndMetadata(0, "", -1))
    backpressure = Backpressure(StreamSettings(**{**given, **stream}), tracker)
    for partition, count in enumerate(counts):
        for offset in range(count):
            record = a_pending_record(partition=partition, offset=offset)
            record.size = size
            tracker.deliver(record)
            backpressure.observe(size)
    return backpressure, tracker


def test_each_partition_has_a_fair_share_but_at_least_two_batches() -> None:
    assert with_pending(0)[0].share == 90
    assert with_pending(0, 0, 0)[0].share == 30
    assert with_pending(0, 0, 0, batch_records=20)[0].share == 40
    assert with_pending(0, 0, 0, batch_records=500)[0].share == 90


def test_before_the_first_record_a_poll_brings_a_batch() -> None:
    assert with_pending(0)[0].room == 5


def test_a_poll_brings_no_more_than_a_share_and_than_what_is_left() -> None:
    many = 100_000_000
    assert with_pending(0, 0, 20, max_pending_bytes=many, batch_records=30)[0].room == 60
    assert with_pending(0, 60, 20, max_pending_bytes=many, batch_records=30)[0].room == 10
    assert with_pending(60, 60, 20)[0].room == 1  # never 0: kafka-python refuses that
    huge, _ = with_pending(2, max_pending_records=10_000, max_pending_bytes=many)
    for _ in range(200):
        huge.observe(1)
    assert huge.room == MAX_POLL_RECORDS


def test_a_poll_brings_no_more_bytes_than_are_left() -> None:
    backpressure, _ = with_pending(0, max_pending_bytes=100_000)
    for _ in range(500):
        backpressure.observe(10_000)
    assert backpressure.room in (9, 10)


def test_a_partition_pauses_at_its_share_and_resumes_at_half_of_it() -> None:
    backpressure, tracker = with_pending(30, 29, 0)
    assert backpressure.to_pause(PARTITIONS, paused=set()) == {FIRST}
    assert backpressure.to_pause(PARTITIONS, paused={FIRST, SECOND}) == {FIRST, SECOND}
    assert tracker.pending_records == 59
    backpressure, _ = with_pending(15, 14, 0)
    assert backpressure.to_pause(PARTITIONS, paused={FIRST, SECOND}) == {FIRST}


def test_a_partition_pauses_at_its_share_of_the_bytes() -> None:
    backpressure, _ = with_pending(4, 3, 0, size=100, max_pending_bytes=1200)
    assert backpressure.to_pause(PARTITIONS, paused=set()) == {FIRST}


def test_all_pause_at_the_limit_and_resume_below_three_quarters_of_it() -> None:
    backpressure, _ = with_pending(50, 40, 0)
    assert backpressure.to_pause(PARTITIONS, paused=set()) == set(PARTITIONS)
    backpressure, _ = with_pending(68, 0, 0)
    assert THIRD in backpressure.to_pause(PARTITIONS, paused={THIRD})
    backpressure, _ = with_pending(67, 0, 0)
    assert backpressure.to_pause(PARTITIONS, paused={THIRD}) == {FIRST}


def test_a_partition_that_the_tracker_does_not_know_yet_is_fetched() -> None:
    backpressure, _ = with_pending(90)
    assert backpressure.to_pause([FIRST, SECOND], paused={SECOND}) == {FIRST}


@given(
    pending=st.lists(st.integers(0, 40), min_size=1, max_size=3),
    paused=st.sets(st.sampled_from(PARTITIONS)),
    limit=st.integers(1, 200),
    batch=st.integers(1, 50),
)
def test_one_more_poll_never_passes_the_limit_by_more_than_it_must(
    pending: list[int], paused: set[TopicPartition], limit: int, batch: int
) -> None:
    backpressure, tracker = with_pending(
        *pending, max_pending_records=limit, batch_records=batch, max_pending_bytes=1 << 40
    )
    assert backpressure.room <= max(1, limit - tracker.pending_records)
    assigned = PARTITIONS[: len(pending)]
    fetched = set(assigned) - backpressure.to_pause(assigned, paused)
    assert not fetched or tracker.pending_records < limit
    assert all(tracker.pending(tp)[0] < backpressure.share for tp in fetched)
