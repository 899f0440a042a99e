from __future__ import annotations

from tests.workers.stream.support import a_pending_record
from workers.stream.list_builder import ListBuilder
from workers.stream.pending_record import PendingRecord


def records(count: int) -> list[PendingRecord]:
    return [a_pending_record(offset=number) for number in range(count)]


def test_full_batches_leave_at_once_in_order() -> None:
    lists = ListBuilder(size=3, linger_s=1.0)
    all_works = records(8)
    assert lists.add(all_works, now=0.0) == [all_works[:3], all_works[3:6]]
    assert lists.waiting == 2


def test_a_partial_batch_waits_while_the_backend_is_busy() -> None:
    lists = ListBuilder(size=3, linger_s=1.0)
    lists.add(records(2), now=0.0)
    assert lists.release(now=100.0, idle=False, nothing_more=True) == []


def test_a_partial_batch_leaves_when_the_topic_brings_nothing_more() -> None:
    lists = ListBuilder(size=3, linger_s=1.0)
    some = records(2)
    lists.add(some, now=0.0)
    assert lists.release(now=0.0, idle=True, nothing_more=False) == []
    assert lists.release(now=0.0, idle=True, nothing_more=True) == some
    assert lists.release(now=0.0, idle=True, nothing_more=True) == []


def test_a_partial_batch_leaves_after_the_linger() -> None:
    lists = ListBuilder(size=3, linger_s=1.0)
    first, second = records(2)
    lists.add([first], now=0.0)
    lists.add([second], now=0.9)
    assert lists.release(now=1.0, idle=True, nothing_more=False) == [first, second]


def test_discard_keeps_what_is_still_wanted() -> None:
    lists = ListBuilder(size=5, linger_s=1.0)
    some = records(4)
    lists.add(some, now=0.0)
    lists.discard(lambda record: record.offset % 2 == 0)
    assert lists.release(now=0.0, idle=True, nothing_more=True) == [some[0], some[2]]
