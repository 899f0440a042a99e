"""The worker against a real Kafka, with a stand-in Router in this process."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest

from schemas.dead_letter import from_headers, original_headers
from schemas.failures import ErrorCode
from schemas.metrics import MetricsEvent
from schemas.settings import KafkaSettings, Settings
from tests.workers.stream.support import (
    StandInRouter,
    committed,
    dead_letters,
    done,
    end_offsets,
    manifest,
    produce,
    read_all,
    running,
    settings_for,
    transcript_ids,
    wait_until,
)
from workers import exit_codes
from workers.kafka.cluster import Cluster
from workers.kafka.ports import free_ports
from workers.kafka.topics import ensure_topics
from workers.stream.clients import make_producer
from workers.stream.publisher import Publisher
from workers.stream.worker import StreamWorker

pytestmark = pytest.mark.kafka


def ids(count: int, start: int = 0) -> list[str]:
    return [f"r{number}" for number in range(start, start + count)]


def send(settings: Settings, names: list[str], **options) -> None:
    produce(settings, (manifest(name) for name in names), **options)


def each_once(names: list[str]) -> Counter[str]:
    return Counter(names)


def test_every_record_once_with_its_metrics_and_nothing_left_behind(kafka, unique):
    settings = settings_for(kafka.bootstrap, unique)
    names = ids(500)
    send(settings, names)
    with running(settings, StandInRouter()) as worker:
        wait_until(lambda: done(worker) == 500)
        assert worker.ready
        assert worker.heartbeat_age_s < 5
    assert transcript_ids(settings) == each_once(names)
    assert committed(settings) == end_offsets(settings)
    assert dead_letters(settings) == []
    events = [
        msgspec.json.decode(message.value, type=MetricsEvent)
        for message in read_all(settings, settings.kafka.topics.metrics)
    ]
    assert sum(event.records for event in events) == 500
    assert sum(event.audio_seconds for event in events) == pytest.approx(1000.0)
    stats = worker.stats()
    assert (stats.transcribed, stats.dead_lettered, stats.recoveries) == (500, 0, 0)


def test_batches_are_full_under_load(kafka, unique):
    settings = settings_for(kafka.bootstrap, unique, batch_records=32)
    send(settings, ids(1600))
    backend = StandInRouter(delay_s=0.01)
    with running(settings, backend) as worker:
        wait_until(lambda: done(worker) == 1600)
    assert sum(len(call) == 32 for call in backend.calls) >= 0.9 * len(backend.calls)


def test_the_lag_goes_to_zero_behind_a_transactional_producer(kafka, unique):
    settings = settings_for(kafka.bootstrap, unique, partitions=1)
    producer = make_producer(settings.kafka, transactional_id=unique("producer"))
    producer.init_transactions()
    for name in ids(3):
        producer.begin_transaction()
        producer.send(settings.kafka.topics.manifests, manifest(name))
        producer.commit_transaction()
    producer.begin_transaction()
    producer.send(settings.kafka.topics.manifests, manifest("aborted"))
    producer.flush()
    producer.abort_transaction()
    producer.close()
    with running(settings, StandInRouter()):
        wait_until(lambda: committed(settings) == end_offsets(settings) != {})
    assert transcript_ids(settings) == each_once(ids(3))


@contextmanager
def process(settings: Settings, instance: str, delay_s: float) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-m", "tests.workers.stream.worker_process"]
    arguments = [msgspec.json.encode(settings).decode(), instance, str(delay_s)]
    worker = subprocess.Popen([*command, *arguments], stderr=subprocess.DEVNULL)
    try:
        yield worker
    finally:
        worker.kill()
        worker.wait()


def test_a_killed_worker_loses_and_repeats_nothing(kafka, unique):
    settings = settings_for(kafka.bootstrap, unique)
    names = ids(600)
    send(settings, names)
    for committed_before in (1, 200):
        with process(settings, "0", delay_s=0.05) as worker:
            wait_until(
                lambda at_least=committed_before: sum(committed(settings).values()) >= at_least
            )
            worker.send_signal(signal.SIGKILL)
    assert 0 < sum(transcript_ids(settings).values()) < 600
    with process(settings, "0", delay_s=0.0) as worker:
        wait_until(lambda: committed(settings) == end_offsets(settings))
        worker.terminate()
        assert worker.wait(timeout=30) == exit_codes.OK
    assert transcript_ids(settings) == each_once(names)


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
def test_a_rebalance_commits_what_is_done_before_it_gives_a_partition_away(
    kafka, unique, guarantee
):
    settings = settings_for(
        kafka.bootstrap,
        unique,
        partitions=4,
        guarantee=guarantee,
        commit_interval_s=1000.0,  # nothing but the rebalance makes it commit
        commit_records=100_000,
    )
    first, second = StandInRouter(), StandInRouter()
    names = ids(100)
    with running(settings, first, "0") as old:
        send(settings, names)
        wait_until(lambda: sum(map(len, first.calls)) == 100 and old.stats().in_flight == 0)
        time.sleep(0.5)  # the results are collected
        assert done(old) == 0
        with running(settings, second, "1") as new:
            wait_until(lambda: old.stats().partitions == new.stats().partitions == 2)
            assert done(old) == 50
            wait_until(lambda: new.ready)
            send(settings, ids(100, start=100))
            wait_until(lambda: sum(map(len, first.calls + second.calls)) == 200)
    # nothing was transcribed twice: what was done before was committed, and only that
    assert Counter(id_ for call in first.calls + second.calls for id_ in call) == each_once(
        ids(200)
    )
    assert transcript_ids(settings) == each_once(ids(200))
    assert committed(settings) == end_offsets(settings)


def test_a_rebalance_under_load_is_exactly_once(kafka, unique):
    settings = settings_for(kafka.bootstrap, unique, partitions=4)
    names = ids(1200)
    send(settings, names)
    backend = StandInRouter(delay_s=0.05)
    with running(settings, backend, "0") as old:
        wait_until(lambda: done(old) > 50)
        with running(settings, backend, "1") as new:
            wait_until(lambda: done(new) > 50)
        wait_until(lambda: committed(settings) == end_offsets(settings))
    assert transcript_ids(settings) == each_once(names)


def test_a_transaction_that_the_broker_dropped_is_done_again(kafka, unique, monkeypatch):
    """kafka-python's `commit_transaction()` returns normally here; see `publisher`."""
    settings = settings_for(kafka.bootstrap, unique, transaction_timeout_s=2.0)
    names = ids(40)
    send(settings, names)
    real_send = Publisher._send
    slow = threading.Event()

    def send_slowly_once(self, producer, messages):
        if not slow.is_set():
            slow.set()
            real_send(self, producer, messages[:1])
            time.sleep(5)  # the broker aborts the transaction after 2 s
            messages = messages[1:]
        real_send(self, producer, messages)

    monkeypatch.setattr(Publisher, "_send", send_slowly_once)
    with running(settings, StandInRouter()) as worker:
        wait_until(lambda: done(worker) == 40)
        assert worker.stats().recoveries == 1
    assert transcript_ids(settings) == each_once(names)
    assert committed(settings) == end_offsets(settings)


def test_an_outage_of_the_backend_pauses_and_is_no_dead_letter(kafka, unique):
    settings = settings_for(kafka.bootstrap, unique)
    names = ids(300)
    backend = StandInRouter()
    backend.down.set()
    send(settings, names)
    with running(settings, backend) as worker:
        wait_until(lambda: worker.stats().breaker == "open" and worker.stats().paused == 3)
        calls = len(backend.calls)
        time.sleep(2)
        assert not worker.ready
        assert worker.heartbeat_age_s < 1.5  # it polls on
        assert len(backend.calls) <= calls + 1
        assert done(worker) == 0
        backend.down.clear()
        wait_until(lambda: done(worker) == 300)
        assert worker.ready
    assert transcript_ids(settings) == each_once(names)
    assert dead_letters(settings) == []


def test_a_record_that_kills_replicas_is_found_and_its_neighbours_are_not_hurt(kafka, unique):
    settings = settings_for(kafka.bootstrap, unique, batch_records=32)
    backend = StandInRouter(delay_s=0.002)
    backend.killers = {"r77"}
    names = ids(200)
    send(settings, names)
    with running(settings, backend) as worker:
        wait_until(lambda: done(worker) == 200)
    (letter,) = dead_letters(settings)
    view = from_headers(letter.headers)
    assert (view.id, view.code) == ("r77", ErrorCode.MODEL_DIED)
    assert view.attempts >= settings.stream.suspect_attempts
    names.remove("r77")
    assert transcript_ids(settings) == each_once(names)


def test_poison_is_dead_lettered_whole_among_good_records(kafka, unique):
    settings = settings_for(kafka.bootstrap, unique, partitions=1)
    backend = StandInRouter()
    backend.poison = {"gone"}
    poison = [None, b"", b"{", b'{"id": "x"}', b'"\xff"', manifest("gone")]
    values = [value for bad in poison for value in (manifest(str(id(bad))), bad)]
    produce(settings, values, headers=[("mine", b"1")], key=b"k")
    with running(settings, backend) as worker:
        wait_until(lambda: done(worker) == 2 * len(poison))
    letters = dead_letters(settings)
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
    assert sum(transcript_ids(settings).values()) == len(poison)


def test_a_flood_of_dead_letters_stops_the_worker_before_it_is_committed(kafka, unique, caplog):
    settings = settings_for(kafka.bootstrap, unique, partitions=1, max_consecutive_dead_letters=50)
    send(settings, ids(20))
    with running(settings, StandInRouter()) as worker:
        wait_until(lambda: done(worker) == 20)
    produce(settings, (b"not json" for _ in range(500)))
    worker = StreamWorker(settings, StandInRouter())
    assert worker.run() == exit_codes.DEAD_LETTER_LIMIT
    assert "max_consecutive_dead_letters is 50" in caplog.text
    assert f"{settings.kafka.topics.manifests}-0-20" in caplog.text
    assert dead_letters(settings) == []
    assert committed(settings) == {0: 20}


def small_topic(kafka, name: str, max_bytes: int) -> str:
    configs = {name: {"max.message.bytes": str(max_bytes)}}
    ensure_topics(kafka.bootstrap, {name: 1}, configs=configs)
    return name


def test_a_topic_for_small_batches_gets_small_ones(kafka, unique):
    settings = settings_for(kafka.bootstrap, unique)
    settings.kafka.topics.transcripts = small_topic(kafka, unique("small"), 40_000)
    noise = random.Random(1).randbytes(1500).hex()  # so that compression does not make it fit
    produce(settings, (manifest(name, note=noise) for name in ids(100)))
    with running(settings, StandInRouter()) as worker:
        wait_until(lambda: done(worker) == 100)
        assert worker.stats().recoveries == 0
    assert transcript_ids(settings) == each_once(ids(100))


def test_a_transcript_too_large_for_its_topic_is_a_dead_letter(kafka, unique):
    settings = settings_for(kafka.bootstrap, unique)
    settings.kafka.topics.transcripts = small_topic(kafka, unique("small"), 40_000)
    produce(settings, [manifest("large", note=random.Random(1).randbytes(25_000).hex())])
    send(settings, ids(3))
    with running(settings, StandInRouter()) as worker:
        wait_until(lambda: done(worker) == 4)
        assert worker.stats().recoveries == 0
    assert transcript_ids(settings) == each_once(ids(3))
    [letter] = [from_headers(message.headers) for message in dead_letters(settings)]
    assert letter.id == "large"
    assert "40000" in letter.message


def test_a_topic_without_room_for_a_message_is_refused_at_the_start(kafka, unique, caplog):
    settings = settings_for(kafka.bootstrap, unique)
    settings.kafka.topics.dead_letters = small_topic(kafka, unique("tiny"), 4000)
    assert StreamWorker(settings, StandInRouter()).run() == exit_codes.SETTINGS
    assert settings.kafka.topics.dead_letters in caplog.text
    assert "4000" in caplog.text


def test_a_stuck_partition_leaves_room_for_the_others_and_memory_is_bounded(kafka, unique):
    settings = settings_for(
        kafka.bootstrap, unique, partitions=3, batch_records=8, max_pending_records=90
    )
    backend = StandInRouter()
    backend.blocked = {"stuck"}
    send(settings, ["stuck", *ids(400)], partition=0)
    send(settings, ids(400, start=400), partition=1)
    send(settings, ids(400, start=800), partition=2)
    most = 0
    with running(settings, backend) as worker:

        def others_are_done() -> bool:
            nonlocal most
            most = max(most, worker.stats().pending)
            return done(worker) >= 800

        wait_until(others_are_done)
        assert committed(settings) == {1: 400, 2: 400}  # partition 0: not an offset
        assert worker.stats().paused == 1
        assert most <= 90 + 30  # the limit, and a poll's worth of one partition
        backend.blocked = set()
        wait_until(lambda: done(worker) == 1201)
    assert transcript_ids(settings) == each_once(["stuck", *ids(1200)])


def test_pending_bytes_are_bounded_too(kafka, unique):
    settings = settings_for(kafka.bootstrap, unique, partitions=1, max_pending_bytes=400_000)
    backend = StandInRouter()
    names = ids(100)
    backend.blocked = set(names)
    produce(settings, (manifest(name, notes="x" * 20_000) for name in names))
    with running(settings, backend) as worker:
        wait_until(lambda: worker.stats().paused == 1)
        time.sleep(0.5)
        assert 200_000 < worker.stats().pending_bytes < 600_000
        backend.blocked = set()
        wait_until(lambda: done(worker) == 100)


def test_at_least_once_loses_nothing_and_commits_its_offsets(kafka, unique):
    settings = settings_for(kafka.bootstrap, unique, guarantee="at_least_once")
    names = ids(300)
    send(settings, names)
    with running(settings, StandInRouter()) as worker:
        wait_until(lambda: done(worker) == 300)
    assert set(transcript_ids(settings)) == set(names)
    assert committed(settings) == end_offsets(settings)


def test_stopping_commits_what_was_in_flight(kafka, unique):
    settings = settings_for(kafka.bootstrap, unique, commit_interval_s=1000.0)
    backend = StandInRouter(delay_s=0.5)
    send(settings, ids(100))
    with running(settings, backend) as worker:
        wait_until(lambda: worker.stats().in_flight > 0)
    in_flight = [id_ for call in backend.calls for id_ in call]
    found = transcript_ids(settings)
    assert found
    assert set(found) <= set(in_flight)
    assert sum(committed(settings).values()) == sum(found.values())
    settings.stream.commit_interval_s = 0.2
    with running(settings, StandInRouter()) as worker:
        wait_until(lambda: done(worker) == 100 - len(found))
    assert transcript_ids(settings) == each_once(ids(100))


def test_a_second_worker_of_the_same_name_takes_over(kafka, unique, caplog):
    settings = settings_for(kafka.bootstrap, unique)
    codes: list[int] = []
    old = StreamWorker(settings, StandInRouter(), "twin")
    thread = threading.Thread(target=lambda: codes.append(old.run()), daemon=True)
    thread.start()
    wait_until(lambda: old.ready)
    send(settings, ids(50))
    wait_until(lambda: done(old) == 50)
    with running(settings, StandInRouter(), "twin") as new:
        wait_until(lambda: new.ready)
        send(settings, ids(300, start=50))
        wait_until(lambda: committed(settings) == end_offsets(settings))
        thread.join(timeout=30)
        assert codes == [exit_codes.RESTART]
        assert new.stats().recoveries <= 2
    assert "instance `twin`" in caplog.text
    assert transcript_ids(settings) == each_once(ids(350))


def test_the_broker_dies_and_comes_back(unique):
    names = ids(600)
    with Cluster() as kafka:
        settings = settings_for(kafka.bootstrap, unique)
        send(settings, names)
        with running(settings, StandInRouter(delay_s=0.1)) as worker:
            wait_until(lambda: done(worker) > 50)
            kafka.kill(0)
            time.sleep(2)
            assert worker.heartbeat_age_s < 5
            kafka.restart(0)
            wait_until(lambda: committed(settings) == end_offsets(settings), timeout_s=100)
        assert transcript_ids(settings) == each_once(names)


def test_no_broker_is_a_code_of_its_own(unique, caplog):
    (port,) = free_ports(1)
    kafka = KafkaSettings(
        bootstrap_servers=[f"127.0.0.1:{port}"], client={"bootstrap_timeout_ms": 500}
    )
    worker = StreamWorker(_settings(kafka), StandInRouter())
    assert worker.run() == exit_codes.UNREACHABLE
    assert f"127.0.0.1:{port}" in caplog.text


def test_a_missing_topic_is_named_before_anything_starts(kafka, caplog):
    worker = StreamWorker(
        _settings(KafkaSettings(bootstrap_servers=[kafka.bootstrap])), StandInRouter()
    )
    assert worker.run() == exit_codes.SETTINGS
    assert "asr.manifests" in caplog.text


def _settings(kafka: KafkaSettings) -> Settings:
    from schemas.settings import AudioSettings, ModelSettings, Routing

    return Settings(
        models={"general": ModelSettings(pretrained="stand-in")},
        routing=Routing(default="general"),
        audio=AudioSettings(roots=[os.curdir]),
        kafka=kafka,
    )
