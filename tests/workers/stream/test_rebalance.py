"""What is committed and what is forgotten when partitions come and go."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

import pytest

from tests.workers.stream.commit_bench import FIRST, SECOND, CommitBench, at
from workers.stream.commit_cycle import CommitState
from workers.stream.offset_tracker import CompletedPrefix
from workers.stream.publisher import PublishError
from workers.stream.rebalance import RebalanceListener


@pytest.fixture
def bench() -> CommitBench:
    return CommitBench()


def listener_of(
    bench: CommitBench, collect: Callable[[], None] = lambda: None
) -> RebalanceListener:
    return RebalanceListener(bench.tracker, bench.cycle, collect, bench.forget, timeout_s=0.01)


async def test_what_is_done_of_a_revoked_partition_is_committed_and_no_more(
    bench: CommitBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = bench.deliver(2)
    second = bench.deliver(2, SECOND)
    bench.complete(second)

    def publish(taken: CompletedPrefix, group_metadata: object) -> Future[None]:
        bench.publisher.taken.append(taken)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    monkeypatch.setattr(bench.publisher, "publish", publish)
    await listener_of(bench, collect=lambda: bench.complete(first[:1])).on_partitions_revoked(
        [FIRST]
    )
    (taken,) = bench.publisher.taken
    assert taken.offsets == {FIRST: at(1)}
    assert bench.totals.transcribed == 1
    assert list(bench.tracker.assigned) == [SECOND]
    assert bench.forgotten == 1
    assert bench.state() is CommitState.IDLE


async def test_a_slow_commit_does_not_hold_up_a_rebalance(bench: CommitBench) -> None:
    bench.publishing()
    await listener_of(bench).on_partitions_revoked([FIRST])
    assert bench.state() is CommitState.PUBLISHING
    assert list(bench.tracker.assigned) == [SECOND]
    bench.publisher.published.set_result(None)  # it goes on, and settles nothing that is not ours
    bench.cycle.step()
    assert bench.state() is CommitState.IDLE
    assert bench.tracker.pending_records == 0


async def test_a_commit_that_fails_in_a_rebalance_still_gives_the_partition_away(
    bench: CommitBench,
) -> None:
    bench.publishing()
    bench.publisher.published.set_exception(PublishError("lost"))
    await listener_of(bench).on_partitions_revoked([FIRST])
    assert bench.state() is CommitState.REOPENING
    assert list(bench.tracker.assigned) == [SECOND]


async def test_of_a_lost_partition_nothing_is_committed(bench: CommitBench) -> None:
    bench.complete(bench.deliver())
    await listener_of(bench).on_partitions_lost([FIRST])
    assert bench.publisher.taken == []
    assert list(bench.tracker.assigned) == [SECOND]
    assert bench.forgotten == 1


async def test_a_partition_that_comes_back_starts_afresh(bench: CommitBench) -> None:
    (old,) = bench.deliver()
    listener = listener_of(bench)
    await listener.on_partitions_revoked([FIRST])
    await listener.on_partitions_assigned([FIRST])
    assert not bench.tracker.current(old)
    assert set(bench.tracker.assigned) == {FIRST, SECOND}
