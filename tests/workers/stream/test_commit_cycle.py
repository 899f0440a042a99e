"""Every transition of the commit cycle, with a publisher and consumer that the test controls."""

from __future__ import annotations

import re
from typing import Never

import pytest
from kafka.errors import (
    FencedInstanceIdError,
    GroupAuthorizationFailedError,
    KafkaError,
    KafkaTimeoutError,
    TopicAuthorizationFailedError,
)
from kafka.structs import MemberState

from schemas.settings import SettingsError
from tests.workers.stream.commit_bench import FIRST, SECOND, CommitBench, at
from workers.stream.commit_cycle import (
    TRANSITIONS,
    CommitCycle,
    CommitEvent,
    CommitState,
    CommitTotals,
    DeadLetterLimitError,
)
from workers.stream.publisher import PublishError


@pytest.fixture
def bench() -> CommitBench:
    return CommitBench()


def test_the_table_in_the_docstring_is_the_one_in_the_code() -> None:
    rows = set()
    for line in (CommitCycle.__doc__ or "").splitlines():
        cells = re.split(r"\s{2,}", line.strip())
        if len(cells) == 4 and cells[0] != "State" and not cells[0].startswith("="):
            state, event, following, _ = cells
            states = list(CommitState) if state == "any" else [CommitState(state)]
            rows |= {((s, CommitEvent(event)), CommitState(following)) for s in states}
    assert rows == set(TRANSITIONS.items())


def test_a_commit_is_due_after_the_interval(bench: CommitBench) -> None:
    bench.complete(bench.deliver(2)[:1])
    bench.now = 9.9
    bench.cycle.begin()
    assert bench.state() is CommitState.IDLE
    bench.now = 10.0
    bench.cycle.begin()
    assert bench.state() is CommitState.PUBLISHING
    (taken,) = bench.publisher.taken
    assert (taken.offsets, len(taken.records)) == ({FIRST: at(1)}, 1)


@pytest.mark.parametrize("limits", [{}, {"max_pending_records": 12, "commit_records": 1000}])
def test_enough_results_are_committed_early(limits: dict[str, int]) -> None:
    bench = CommitBench(**limits)
    bench.complete(bench.deliver(2))
    bench.complete(bench.deliver(3, SECOND)[:2])
    bench.cycle.begin()
    assert bench.state() is CommitState.IDLE
    # 6 in all: `commit_records`; and 4 of one partition: more than half of its share, which is 6
    bench.complete(bench.deliver(2))
    bench.cycle.begin()
    assert bench.state() is CommitState.PUBLISHING


def test_what_waits_for_no_other_record_is_committed_soon() -> None:
    bench = CommitBench(commit_idle_s=0.5)
    first, last = bench.deliver(2)
    bench.complete([first])
    bench.now = 1.0
    bench.cycle.begin()
    assert bench.state() is CommitState.IDLE
    bench.complete([last])
    bench.cycle.begin()
    assert bench.state() is CommitState.PUBLISHING
    (taken,) = bench.publisher.taken
    assert len(taken.records) == 2


def test_a_single_record_waits_a_moment_for_others() -> None:
    bench = CommitBench(commit_idle_s=0.5)
    bench.complete(bench.deliver())
    bench.now = 0.4
    bench.cycle.begin()
    assert bench.state() is CommitState.IDLE
    bench.now = 0.5
    bench.cycle.begin()
    assert bench.state() is CommitState.PUBLISHING


def test_nothing_is_committed_in_a_rebalance(bench: CommitBench) -> None:
    bench.consumer.member_state = MemberState.REBALANCING
    bench.complete(bench.deliver())
    bench.cycle.begin(now=True)
    assert bench.state() is CommitState.IDLE
    bench.consumer.member_state = MemberState.STABLE
    bench.cycle.begin(now=True)
    assert bench.state() is CommitState.PUBLISHING


def test_without_anything_complete_there_is_no_commit(bench: CommitBench) -> None:
    bench.deliver(3)
    bench.cycle.begin(now=True)
    assert bench.state() is CommitState.IDLE
    assert bench.publisher.taken == []
    assert bench.cycle.settled


def test_one_commit_at_a_time(bench: CommitBench) -> None:
    bench.publishing()
    bench.complete(bench.deliver())
    bench.cycle.begin(now=True)
    bench.cycle.step()
    assert len(bench.publisher.taken) == 1
    assert not bench.cycle.settled


def test_a_commit_that_succeeds_is_counted(bench: CommitBench) -> None:
    bench.publishing()
    bench.complete(bench.deliver(2), dead=True)
    bench.publisher.published.set_result(None)
    bench.cycle.step()
    assert bench.state() is CommitState.IDLE
    bench.cycle.begin(now=True)
    bench.publisher.published.set_result(None)
    bench.cycle.step()
    assert bench.totals == CommitTotals(transcribed=1, dead_lettered=2, audio_s=2.0, commits=2)
    assert bench.tracker.pending_records == 0
    assert bench.cycle.settled
    assert bench.consumer.committed_later == []  # its offsets were in the transaction


def test_a_dead_letter_limit_ends_it_before_the_commit() -> None:
    bench = CommitBench(max_consecutive_dead_letters=3)
    bench.complete(bench.deliver(3), dead=True)
    bench.cycle.begin(now=True)
    assert bench.state() is CommitState.ENDED
    assert isinstance(bench.cycle.failure, DeadLetterLimitError)
    assert "max_consecutive_dead_letters is 3" in str(bench.cycle.failure)
    assert "in-0-0" in str(bench.cycle.failure)
    assert bench.publisher.taken == []


def test_a_failed_commit_goes_all_the_way_back(bench: CommitBench) -> None:
    bench.consumer.offsets = {FIRST: at(7)}
    (unfinished,) = bench.deliver(1, SECOND)
    bench.reopening()
    assert bench.tracker.pending_records == 0
    assert not bench.tracker.current(unfinished)
    assert bench.forgotten == 1
    assert bench.publisher.delays == [0.0]  # the first time without a pause
    bench.cycle.step()
    assert bench.state() is CommitState.REOPENING
    assert bench.cycle.recovering
    bench.publisher.reopened.set_result(None)
    bench.cycle.step()
    assert bench.state() is CommitState.IDLE
    assert bench.consumer.sought == {FIRST: 7, SECOND: "beginning"}
    assert bench.totals == CommitTotals(recoveries=1)


def test_nothing_is_committed_on_the_way_back(bench: CommitBench) -> None:
    bench.reopening()
    bench.complete(bench.deliver())
    bench.cycle.begin(now=True)
    bench.cycle.hand_over([FIRST], collect=lambda: None, timeout_s=0.0)
    assert len(bench.publisher.taken) == 1


def test_a_producer_that_cannot_be_opened_is_tried_again_after_a_pause(bench: CommitBench) -> None:
    bench.reopening()
    for _ in range(3):
        bench.publisher.reopened.set_exception(KafkaTimeoutError())
        bench.cycle.step()
        assert bench.state() is CommitState.REOPENING
    assert bench.publisher.delays[0] == 0.0
    assert all(0.0 < delay <= 8.0 for delay in bench.publisher.delays[1:])
    assert bench.totals.recoveries == 1


def test_offsets_that_may_not_be_read_any_more_end_the_cycle(
    bench: CommitBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = GroupAuthorizationFailedError("g")

    def refuse(*_: object, **__: object) -> Never:
        raise refusal

    bench.reopening()
    monkeypatch.setattr(bench.consumer, "committed", refuse)
    bench.publisher.reopened.set_result(None)
    bench.cycle.step()
    assert (bench.state(), bench.cycle.failure) == (CommitState.ENDED, refusal)


def test_a_refusal_behind_another_error_ends_the_cycle(bench: CommitBench) -> None:
    refusal = TopicAuthorizationFailedError({"out"})
    error = PublishError("lost")
    error.__cause__ = KafkaError("a request before has failed", refusal)
    bench.publishing()
    bench.publisher.published.set_exception(error)
    bench.cycle.step()
    assert (bench.state(), bench.cycle.failure) == (CommitState.ENDED, refusal)


def test_offsets_that_cannot_be_read_are_asked_for_again(bench: CommitBench) -> None:
    bench.reopening()
    bench.consumer.unreachable = True
    bench.publisher.reopened.set_result(None)
    bench.cycle.step()
    assert bench.state() is CommitState.REWINDING
    assert bench.cycle.recovering
    bench.consumer.unreachable = False
    bench.cycle.step()
    assert bench.state() is CommitState.IDLE
    assert bench.consumer.sought == {FIRST: "beginning", SECOND: "beginning"}


def test_another_member_of_this_name_ends_it(bench: CommitBench) -> None:
    bench.publishing()
    error = PublishError("fenced")
    error.__cause__ = FencedInstanceIdError()
    bench.publisher.published.set_exception(error)
    bench.cycle.step()
    assert bench.state() is CommitState.ENDED
    assert bench.cycle.failure is error.__cause__
    assert bench.totals.recoveries == 0


@pytest.mark.parametrize(
    "refusal",
    [FencedInstanceIdError(), TopicAuthorizationFailedError(), SettingsError("too narrow")],
)
def test_a_refused_producer_ends_it(bench: CommitBench, refusal: Exception) -> None:
    bench.reopening()
    bench.publisher.reopened.set_exception(refusal)
    bench.cycle.step()
    assert bench.state() is CommitState.ENDED
    assert bench.cycle.failure is refusal


@pytest.mark.parametrize("where", ["idle", "publishing", "reopening"])
def test_nothing_starts_after_close(bench: CommitBench, where: str) -> None:
    if where != "idle":
        getattr(bench, where)()
    started = len(bench.publisher.taken)
    bench.cycle.close()
    bench.complete(bench.deliver())
    bench.publisher.published.cancel()
    bench.cycle.step()
    bench.cycle.begin(now=True)
    bench.cycle.hand_over([FIRST], collect=lambda: None, timeout_s=0.0)
    assert bench.state() is CommitState.ENDED
    assert len(bench.publisher.taken) == started


def test_at_least_once_commits_the_offsets_of_assigned_partitions_afterwards() -> None:
    bench = CommitBench(guarantee="at_least_once")
    for tp in (FIRST, SECOND):
        bench.complete(bench.deliver(2, tp))
        bench.cycle.begin(now=True)
        bench.publisher.published.set_result(None)
        bench.cycle.step()
    bench.tracker.revoke([SECOND])
    bench.complete(bench.deliver(1))
    bench.cycle.begin(now=True)
    bench.publisher.published.set_result(None)
    bench.cycle.step()
    assert bench.consumer.committed_later == [{FIRST: 2}, {FIRST: 2, SECOND: 2}, {FIRST: 3}]
