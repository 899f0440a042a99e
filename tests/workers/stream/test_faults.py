"""Failures at every point where the worker talks to Kafka, on both clusters."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from kafka.errors import (
    FencedInstanceIdError,
    KafkaConnectionError,
    KafkaTimeoutError,
    TopicAuthorizationFailedError,
    UnknownError,
)

from tests.workers.stream.clusters import AnyCluster, Bench
from tests.workers.stream.faults import Faults, FaultyClients
from tests.workers.stream.support import StandInRouter, done, wait_until
from workers import exit_codes
from workers.stream.watchdog import Watchdog

NAMES = [f"r{number}" for number in range(40)]


@pytest.fixture
def bench(cluster: AnyCluster) -> Bench:
    return Bench(cluster)


@pytest.fixture
def faults() -> Faults:
    return Faults()


def ran_through(bench: Bench, faults: Faults, **stream: Any) -> int:
    """All of `NAMES` through a worker while the faults happen; the commits that failed."""
    settings = bench.settings(**stream)
    bench.send(settings, NAMES)
    clients = FaultyClients(bench.cluster.clients(settings), faults)
    backend = StandInRouter()
    with bench.running(settings, backend, clients=clients) as worker:
        wait_until(lambda: bench.all_committed(settings))
    assert faults.left == 0
    assert bench.transcript_ids(settings) == dict.fromkeys(NAMES, 1)
    assert done(worker) + 40 * worker.stats().recoveries >= 40
    return worker.stats().recoveries


def test_polls_that_fail_are_repeated(bench: Bench, faults: Faults) -> None:
    faults.fail("poll", KafkaConnectionError("no connection"), times=3)
    assert ran_through(bench, faults) == 0


@pytest.mark.parametrize(
    ("failure", "codes_at_the_end"),
    [
        (KafkaConnectionError("no broker"), [exit_codes.OK]),
        (UnknownError(), [exit_codes.UNREACHABLE]),
    ],
)
def test_only_what_waiting_may_help_against_is_waited_for_without_a_limit(
    bench: Bench,
    faults: Faults,
    monkeypatch: pytest.MonkeyPatch,
    failure: Exception,
    codes_at_the_end: list[int],
) -> None:
    monkeypatch.setattr("workers.stream.worker.Watchdog", lambda _: Watchdog(0.01, lambda *_: None))
    settings = bench.settings()
    faults.fail("poll", failure, times=5)  # a fifth of a second each, far above the limit
    clients = FaultyClients(bench.cluster.clients(settings), faults)
    worker = bench.worker(settings, StandInRouter(), clients=clients)
    with bench.ending(worker) as codes:
        wait_until(lambda: worker.ready or bool(codes))
        worker.stop()
    assert codes == codes_at_the_end


@pytest.mark.parametrize(
    "method",
    [
        "begin_transaction",
        "send",
        "flush",
        "send_offsets_to_transaction",
        "commit_transaction",
    ],
)
def test_a_commit_that_fails_is_done_again(bench: Bench, faults: Faults, method: str) -> None:
    faults.fail(method, KafkaTimeoutError("injected"))
    assert ran_through(bench, faults) == 1


def test_a_commit_whose_answer_is_lost_is_not_done_twice(bench: Bench, faults: Faults) -> None:
    faults.fail_afterwards("commit_transaction", KafkaTimeoutError("injected"))
    assert ran_through(bench, faults) == 1


def test_commits_that_fail_again_and_again_are_done_in_the_end(
    bench: Bench, faults: Faults
) -> None:
    faults.fail("commit_transaction", KafkaTimeoutError("injected"), times=3)
    assert ran_through(bench, faults) == 3


def test_a_transaction_that_times_out_before_its_commit_is_done_again(
    bench: Bench, faults: Faults
) -> None:
    faults.first(
        "send_offsets_to_transaction", lambda: bench.cluster.let_transactions_time_out(2.0)
    )
    assert ran_through(bench, faults, transaction_timeout_s=2.0) == 1


def test_a_producer_that_cannot_be_made_again_at_once_is_made_later(
    bench: Bench, faults: Faults
) -> None:
    faults.fail("commit_transaction", KafkaTimeoutError("injected"))
    faults.first("commit_transaction", lambda: faults.fail("producer", KafkaTimeoutError(), 2))
    assert ran_through(bench, faults) == 1


def test_offsets_that_cannot_be_read_after_a_failure_are_read_later(
    bench: Bench, faults: Faults
) -> None:
    faults.fail("commit_transaction", KafkaTimeoutError("injected"))
    faults.fail("committed", KafkaTimeoutError("injected"), times=2)
    assert ran_through(bench, faults) == 1


def test_at_least_once_repeats_outputs_and_loses_none(bench: Bench, faults: Faults) -> None:
    settings = bench.settings(guarantee="at_least_once")
    bench.send(settings, NAMES)
    faults.fail_afterwards("flush", KafkaTimeoutError("injected"))
    clients = FaultyClients(bench.cluster.clients(settings), faults)
    with bench.running(settings, StandInRouter(), clients=clients) as worker:
        wait_until(lambda: done(worker) == 40)
    found = bench.transcript_ids(settings)
    assert set(found) == set(NAMES)
    assert max(found.values()) == 2
    assert bench.all_committed(settings)


@pytest.mark.parametrize(
    ("method", "refusal", "code"),
    [
        ("poll", TopicAuthorizationFailedError(), exit_codes.SETTINGS),
        ("poll", FencedInstanceIdError(), exit_codes.RESTART),
        ("producer", TopicAuthorizationFailedError(), exit_codes.SETTINGS),
        ("producer", KafkaTimeoutError(), exit_codes.UNREACHABLE),
        ("topics", KafkaTimeoutError(), exit_codes.UNREACHABLE),
    ],
)
def test_a_refusal_ends_the_worker_with_its_code(
    bench: Bench, faults: Faults, method: str, refusal: Exception, code: int
) -> None:
    settings = bench.settings()
    faults.fail(method, refusal)
    clients = FaultyClients(bench.cluster.clients(settings), faults)
    assert bench.worker(settings, StandInRouter(), clients=clients).run() == code


def test_a_producer_that_is_refused_after_a_failure_ends_the_worker(
    bench: Bench, faults: Faults
) -> None:
    settings = bench.settings()
    bench.send(settings, NAMES)
    faults.fail("commit_transaction", KafkaTimeoutError("injected"))
    faults.first(
        "commit_transaction", lambda: faults.fail("producer", TopicAuthorizationFailedError())
    )
    clients = FaultyClients(bench.cluster.clients(settings), faults)
    worker = bench.worker(settings, StandInRouter(), clients=clients)
    assert worker.run() == exit_codes.SETTINGS
    assert not worker.ready
    assert bench.transcript_ids(settings) == {}


def test_a_partition_that_was_lost_is_read_by_the_next_owner_alone(
    bench: Bench, faults: Faults
) -> None:
    """The first worker stands still for longer than its session, with results in hand."""
    settings = bench.settings(partitions=2, commit_interval_s=0.2)
    bench.send(settings, NAMES)
    stuck, go_on = threading.Event(), threading.Event()

    def stand_still() -> None:
        stuck.set()
        go_on.wait(60)

    faults.first("send_offsets_to_transaction", stand_still)
    clients = FaultyClients(bench.cluster.clients(settings), faults)
    with bench.running(settings, StandInRouter(), "0", clients) as old:
        assert stuck.wait(30)
        with bench.running(settings, StandInRouter(), "1") as new:
            wait_until(lambda: new.stats().partitions > 0)  # the generation has changed
            go_on.set()
            wait_until(lambda: bench.all_committed(settings))
        assert old.stats().recoveries <= 1
    assert bench.transcript_ids(settings) == dict.fromkeys(NAMES, 1)
