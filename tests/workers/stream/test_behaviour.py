"""What the stream worker does, on a real broker and, in much less time, on a cluster in memory."""

from __future__ import annotations

import random
import threading
from collections import Counter
from functools import partial

import msgspec
import pytest

from schemas.dead_letter import from_headers, original_headers
from schemas.failures import ErrorCode
from schemas.metrics import MetricsEvent
from tests.workers.stream.clusters import AnyCluster, Bench, any_producer
from tests.workers.stream.support import StandInRouter, done, manifest, wait_until
from workers import exit_codes
from workers.kafka.messages import OutputMessage
from workers.kafka.protocols import Producer
from workers.stream.backlog_watch import BacklogWatch
from workers.stream.publisher import Publisher


@pytest.fixture
def bench(cluster: AnyCluster) -> Bench:
    return Bench(cluster)


def ids(count: int, start: int = 0) -> list[str]:
    return [f"r{number}" for number in range(start, start + count)]


def each_once(names: list[str]) -> Counter[str]:
    return Counter(names)


def test_the_router_is_told_what_waits(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "workers.stream.worker.BacklogWatch", partial(BacklogWatch, interval_s=0.05)
    )
    settings = bench.settings(partitions=2)
    bench.send(settings, ids(40))
    router = StandInRouter()
    router.blocked = set(ids(10, start=30))
    with bench.running(settings, router) as worker:
        wait_until(lambda: done(worker) == 30)
        wait_until(lambda: bool(router.told) and 10 <= router.told[-1].records < 40)
        router.blocked.clear()
        wait_until(lambda: router.told[-1].records == 0)
    assert {each.partitions for each in router.told} == {2}


def test_every_record_once_with_its_metrics_and_nothing_left_behind(bench: Bench) -> None:
    settings = bench.settings()
    names = ids(500)
    bench.send(settings, names)
    with bench.running(settings, StandInRouter()) as worker:
        wait_until(lambda: done(worker) == 500)
        assert worker.ready
        assert worker.heartbeat_age_s < 5
    assert bench.transcript_ids(settings) == each_once(names)
    assert bench.all_committed(settings)
    assert bench.dead_letters(settings) == []
    events = [
        msgspec.json.decode(message.value, type=MetricsEvent)
        for message in bench.read_all(settings, settings.kafka.topics.metrics)
    ]
    assert sum(event.records for event in events) == 500
    assert sum(event.audio_seconds for event in events) == pytest.approx(1000.0)
    stats = worker.stats()
    assert (stats.transcribed, stats.dead_lettered, stats.recoveries) == (500, 0, 0)


def test_batches_are_full_under_load(bench: Bench) -> None:
    settings = bench.settings(batch_records=32)
    bench.send(settings, ids(1600))
    backend = StandInRouter(delay_s=0.01)
    with bench.running(settings, backend) as worker:
        wait_until(lambda: done(worker) == 1600)
    assert sum(len(call) == 32 for call in backend.calls) >= 0.9 * len(backend.calls)


def test_the_lag_goes_to_zero_behind_a_transactional_producer(bench: Bench) -> None:
    settings = bench.settings(partitions=1)
    producer = any_producer(
        bench.cluster.clients(settings), transactional_id=f"{settings.kafka.group}-producer"
    )
    producer.init_transactions()
    for name in ids(3):
        producer.begin_transaction()
        producer.send(settings.kafka.topics.manifests, value=manifest(name))
        producer.commit_transaction()
    producer.begin_transaction()
    producer.send(settings.kafka.topics.manifests, value=manifest("aborted"))
    producer.flush()
    producer.abort_transaction()
    producer.close()
    with bench.running(settings, StandInRouter()):
        wait_until(lambda: bench.all_committed(settings))
    assert bench.transcript_ids(settings) == each_once(ids(3))


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
def test_a_rebalance_commits_what_is_done_before_it_gives_a_partition_away(
    bench: Bench, guarantee: str
) -> None:
    settings = bench.settings(
        partitions=4,
        guarantee=guarantee,
        commit_interval_s=1000.0,  # nothing but the rebalance makes it commit
        commit_idle_s=1000.0,
        commit_records=100_000,
    )
    first, second = StandInRouter(), StandInRouter()
    names = ids(100)
    with bench.running(settings, first, "0") as old:
        bench.send(settings, names)
        wait_until(lambda: sum(map(len, first.calls)) == 100 and old.stats().in_flight == 0)
        bench.pause(0.5)  # the results are collected
        assert done(old) == 0
        with bench.running(settings, second, "1") as new:
            wait_until(lambda: old.stats().partitions == new.stats().partitions == 2)
            assert done(old) == 50
            wait_until(lambda: new.ready)
            bench.send(settings, ids(100, start=100))
            wait_until(lambda: sum(map(len, first.calls + second.calls)) == 200)
    # nothing was transcribed twice: what was done before was committed, and only that
    assert Counter(id_ for call in first.calls + second.calls for id_ in call) == each_once(
        ids(200)
    )
    assert bench.transcript_ids(settings) == each_once(ids(200))
    assert bench.all_committed(settings)


def test_a_rebalance_under_load_is_exactly_once(bench: Bench) -> None:
    settings = bench.settings(partitions=4)
    names = ids(1200)
    bench.send(settings, names)
    backend = StandInRouter(delay_s=0.3)  # so long that some are left for the second worker
    with bench.running(settings, backend, "0") as old:
        wait_until(lambda: done(old) > 50)
        with bench.running(settings, backend, "1") as new:
            wait_until(lambda: done(new) > 50)
            backend.delay_s = 0.01
        wait_until(lambda: bench.all_committed(settings))
    assert bench.transcript_ids(settings) == each_once(names)


def test_a_transaction_that_the_broker_dropped_is_done_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kafka-python's `commit_transaction()` returns normally here; see `publisher`."""
    settings = bench.settings(transaction_timeout_s=2.0)
    names = ids(40)
    bench.send(settings, names)
    real_send = Publisher._send
    slow = threading.Event()

    def send_slowly_once(
        self: Publisher, producer: Producer, messages: list[OutputMessage]
    ) -> None:
        if not slow.is_set():
            slow.set()
            real_send(self, producer, messages[:1])
            bench.cluster.let_transactions_time_out(2.0)
            messages = messages[1:]
        real_send(self, producer, messages)

    monkeypatch.setattr(Publisher, "_send", send_slowly_once)
    with bench.running(settings, StandInRouter()) as worker:
        wait_until(lambda: done(worker) == 40)
        assert worker.stats().recoveries == 1
    assert bench.transcript_ids(settings) == each_once(names)
    assert bench.all_committed(settings)


def test_an_outage_of_the_backend_pauses_and_is_no_dead_letter(bench: Bench) -> None:
    settings = bench.settings()
    names = ids(300)
    backend = StandInRouter()
    backend.down.set()
    bench.send(settings, names)
    with bench.running(settings, backend) as worker:
        wait_until(lambda: worker.stats().breaker == "open" and worker.stats().paused == 3)
        calls = len(backend.calls)
        bench.pause(2)
        assert not worker.ready
        assert worker.heartbeat_age_s < 1.5  # it polls on
        assert len(backend.calls) <= calls + 1
        assert done(worker) == 0
        backend.down.clear()
        wait_until(lambda: done(worker) == 300)
        assert worker.ready
    assert bench.transcript_ids(settings) == each_once(names)
    assert bench.dead_letters(settings) == []


def test_a_record_that_kills_replicas_is_found_and_its_neighbours_are_not_hurt(
    bench: Bench,
) -> None:
    settings = bench.settings(batch_records=32)
    backend = StandInRouter(delay_s=0.002)
    backend.killers = {"r77"}
    names = ids(200)
    bench.send(settings, names)
    with bench.running(settings, backend) as worker:
        wait_until(lambda: done(worker) == 200)
    (letter,) = bench.dead_letters(settings)
    view = from_headers(letter.headers)
    assert (view.id, view.code) == ("r77", ErrorCode.MODEL_DIED)
    assert view.attempts >= settings.stream.suspect_attempts
    names.remove("r77")
    assert bench.transcript_ids(settings) == each_once(names)


def test_poison_is_dead_lettered_whole_among_good_records(bench: Bench) -> None:
    settings = bench.settings(partitions=1)
    backend = StandInRouter()
    backend.poison = {"gone"}
    poison = [None, b"", b"{", b'{"id": "x"}', b'"\xff"', manifest("gone")]
    values = [value for bad in poison for value in (manifest(str(id(bad))), bad)]
    bench.produce(settings, values, headers=[("mine", b"1")], key=b"k")
    with bench.running(settings, backend) as worker:
        wait_until(lambda: done(worker) == 2 * len(poison))
    letters = bench.dead_letters(settings)
    assert [letter.value for letter in letters] == poison
    assert [letter.key for letter in letters] == [b"k"] * len(poison)
    assert all(original_headers(letter.headers) == [("mine", b"1")] for letter in letters)
    views = [from_headers(letter.headers) for letter in letters]
    assert [view.offset for view in views] == [1, 3, 5, 7, 9, 11]
    assert [view.code for view in views] == [
        ErrorCode.RECORD_JSON,
        ErrorCode.RECORD_JSON,
        ErrorCode.RECORD_JSON,
        ErrorCode.RECORD_SCHEMA,
        ErrorCode.RECORD_JSON,
        ErrorCode.AUDIO_MISSING,
    ]
    topic = settings.kafka.topics.manifests
    assert [view.id for view in views][:4] == [f"{topic}-0-1", f"{topic}-0-3", f"{topic}-0-5", "x"]
    assert sum(bench.transcript_ids(settings).values()) == len(poison)


def test_a_flood_of_dead_letters_stops_the_worker_before_it_is_committed(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    settings = bench.settings(partitions=1, max_consecutive_dead_letters=50)
    bench.send(settings, ids(20))
    with bench.running(settings, StandInRouter()) as worker:
        wait_until(lambda: done(worker) == 20)
    bench.produce(settings, (b"not json" for _ in range(500)))
    worker = bench.worker(settings, StandInRouter())
    assert worker.run() == exit_codes.DEAD_LETTER_LIMIT
    assert "max_consecutive_dead_letters is 50" in caplog.text
    assert f"{settings.kafka.topics.manifests}-0-20" in caplog.text
    assert bench.dead_letters(settings) == []
    assert bench.committed(settings) == {0: 20}


def test_a_topic_for_small_batches_gets_small_ones(bench: Bench) -> None:
    settings = bench.settings()
    settings.kafka.topics.transcripts = bench.topic(40_000)
    noise = random.Random(1).randbytes(1500).hex()  # so that compression does not make it fit
    bench.produce(settings, (manifest(name, note=noise) for name in ids(100)))
    with bench.running(settings, StandInRouter()) as worker:
        wait_until(lambda: done(worker) == 100)
        assert worker.stats().recoveries == 0
    assert bench.transcript_ids(settings) == each_once(ids(100))


def test_a_transcript_too_large_for_its_topic_is_a_dead_letter(bench: Bench) -> None:
    settings = bench.settings()
    settings.kafka.topics.transcripts = bench.topic(40_000)
    bench.produce(settings, [manifest("large", note=random.Random(1).randbytes(25_000).hex())])
    bench.send(settings, ids(3))
    with bench.running(settings, StandInRouter()) as worker:
        wait_until(lambda: done(worker) == 4)
        assert worker.stats().recoveries == 0
    assert bench.transcript_ids(settings) == each_once(ids(3))
    [letter] = [from_headers(message.headers) for message in bench.dead_letters(settings)]
    assert letter.id == "large"
    assert "40000" in letter.message


def test_a_topic_without_room_for_a_message_is_refused_at_the_start(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    settings = bench.settings()
    settings.kafka.topics.dead_letters = bench.topic(4000)
    assert bench.worker(settings, StandInRouter()).run() == exit_codes.SETTINGS
    assert settings.kafka.topics.dead_letters in caplog.text
    assert "4000" in caplog.text


def test_a_stuck_partition_leaves_room_for_the_others_and_memory_is_bounded(bench: Bench) -> None:
    settings = bench.settings(partitions=3, batch_records=8, max_pending_records=90)
    backend = StandInRouter()
    backend.blocked = {"stuck"}
    bench.send(settings, ["stuck", *ids(400)], partition=0)
    bench.send(settings, ids(400, start=400), partition=1)
    bench.send(settings, ids(400, start=800), partition=2)
    most = 0
    with bench.running(settings, backend) as worker:

        def others_are_done() -> bool:
            nonlocal most
            most = max(most, worker.stats().pending)
            return done(worker) >= 800

        wait_until(others_are_done)
        assert bench.committed(settings) == {1: 400, 2: 400}  # partition 0: not an offset
        assert worker.stats().paused == 1
        assert most <= 90 + 30  # the limit, and a poll's worth of one partition
        backend.blocked = set()
        wait_until(lambda: done(worker) == 1201)
    assert bench.transcript_ids(settings) == each_once(["stuck", *ids(1200)])


def test_pending_bytes_are_bounded_too(bench: Bench) -> None:
    settings = bench.settings(partitions=1, max_pending_bytes=400_000)
    backend = StandInRouter()
    names = ids(100)
    backend.blocked = set(names)
    bench.produce(settings, (manifest(name, notes="x" * 20_000) for name in names))
    with bench.running(settings, backend) as worker:
        wait_until(lambda: worker.stats().paused == 1)
        bench.pause(0.5)
        assert 200_000 < worker.stats().pending_bytes < 600_000
        backend.blocked = set()
        wait_until(lambda: done(worker) == 100)


def test_at_least_once_loses_nothing_and_commits_its_offsets(bench: Bench) -> None:
    settings = bench.settings(guarantee="at_least_once")
    names = ids(300)
    bench.send(settings, names)
    with bench.running(settings, StandInRouter()) as worker:
        wait_until(lambda: done(worker) == 300)
    assert set(bench.transcript_ids(settings)) == set(names)
    assert bench.all_committed(settings)


def test_stopping_commits_what_was_in_flight(bench: Bench) -> None:
    settings = bench.settings(commit_interval_s=1000.0, commit_idle_s=1000.0)
    backend = StandInRouter(delay_s=0.5)
    bench.send(settings, ids(100))
    with bench.running(settings, backend) as worker:
        wait_until(lambda: worker.stats().in_flight > 0)
    in_flight = [id_ for call in backend.calls for id_ in call]
    found = bench.transcript_ids(settings)
    assert found
    assert set(found) <= set(in_flight)
    assert sum(bench.committed(settings).values()) == sum(found.values())
    settings.stream.commit_interval_s = 0.2
    with bench.running(settings, StandInRouter()) as worker:
        wait_until(lambda: done(worker) == 100 - len(found))
    assert bench.transcript_ids(settings) == each_once(ids(100))


def test_a_second_worker_of_the_same_name_takes_over(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    settings = bench.settings()
    codes: list[int] = []
    old = bench.worker(settings, StandInRouter(), "twin")
    thread = threading.Thread(target=lambda: codes.append(old.run()), daemon=True)
    thread.start()
    wait_until(lambda: old.ready)
    bench.send(settings, ids(50))
    wait_until(lambda: done(old) == 50)
    with bench.running(settings, StandInRouter(), "twin") as new:
        wait_until(lambda: new.ready)
        bench.send(settings, ids(300, start=50))
        wait_until(lambda: bench.all_committed(settings))
        thread.join(timeout=30)
        assert codes == [exit_codes.RESTART]
        assert new.stats().recoveries <= 2
    assert "instance `twin`" in caplog.text
    assert bench.transcript_ids(settings) == each_once(ids(350))


def test_a_second_worker_of_the_same_name_that_goes_again_ends_the_first(bench: Bench) -> None:
    """Nobody holds the name after that, and the broker knows neither of them."""
    settings = bench.settings()
    first = bench.worker(settings, StandInRouter(), "twin")
    with bench.ending(first) as codes:
        wait_until(lambda: first.ready)
        with bench.running(settings, StandInRouter(), "twin") as second:
            wait_until(lambda: second.ready)
        wait_until(lambda: bool(codes))
        assert codes == [exit_codes.RESTART]
    bench.send(settings, ids(50))
    with bench.running(settings, StandInRouter(), "twin") as again:
        wait_until(lambda: done(again) == 50)
    assert bench.transcript_ids(settings) == each_once(ids(50))
