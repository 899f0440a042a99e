from __future__ import annotations

from tests.workers.stream.support import a_work
from workers.stream.batcher import Batcher


def works(count: int) -> list:
    return [a_work(offset=number) for number in range(count)]


def test_full_batches_leave_at_once_in_order():
    batcher = Batcher(size=3, linger_s=1.0)
    all_works = works(8)
    assert batcher.add(all_works, now=0.0) == [all_works[:3], all_works[3:6]]
    assert batcher.waiting == 2


def test_a_partial_batch_waits_while_the_backend_is_busy():
    batcher = Batcher(size=3, linger_s=1.0)
    batcher.add(works(2), now=0.0)
    assert batcher.release(now=100.0, idle=False, nothing_more=True) == []


def test_a_partial_batch_leaves_when_the_topic_brings_nothing_more():
    batcher = Batcher(size=3, linger_s=1.0)
    some = works(2)
    batcher.add(some, now=0.0)
    assert batcher.release(now=0.0, idle=True, nothing_more=False) == []
    assert batcher.release(now=0.0, idle=True, nothing_more=True) == some
    assert batcher.release(now=0.0, idle=True, nothing_more=True) == []


def test_a_partial_batch_leaves_after_the_linger():
    batcher = Batcher(size=3, linger_s=1.0)
    first, second = works(2)
    batcher.add([first], now=0.0)
    batcher.add([second], now=0.9)
    assert batcher.release(now=1.0, idle=True, nothing_more=False) == [first, second]


def test_discard_keeps_what_is_still_wanted():
    batcher = Batcher(size=5, linger_s=1.0)
    some = works(4)
    batcher.add(some, now=0.0)
    batcher.discard(lambda work: work.offset % 2 == 0)
    assert batcher.release(now=0.0, idle=True, nothing_more=True) == [some[0], some[2]]
