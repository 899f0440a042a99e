"""Topics that are not as they should be, and rights that are missing, at the start and later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from schemas.settings import Settings
from tests.workers.stream.clusters import AnyCluster, Bench, BrokerCluster
from tests.workers.stream.support import StandInRouter, done, wait_until
from workers import exit_codes
from workers.broker.cluster import Cluster

OUTPUTS = ["transcripts", "metrics", "dead_letters"]


@pytest.fixture
def bench(cluster: AnyCluster) -> Bench:
    return Bench(cluster)


def named(settings: Settings, kind: str) -> str:
    """The topic of that kind, or the group."""
    return settings.kafka.group if kind == "group" else str(getattr(settings.kafka.topics, kind))


def ids(first: int, end: int) -> list[str]:
    return [f"r{number}" for number in range(first, end)]


@pytest.mark.parametrize(
    ("right", "kind"),
    [
        ("READ", "manifests"),
        ("READ", "group"),
        *(("WRITE", kind) for kind in OUTPUTS),
        ("DESCRIBE", "transcripts"),
    ],
)
@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
def test_a_right_that_is_taken_away_ends_the_worker(
    bench: Bench, right: str, kind: str, guarantee: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = bench.settings(partitions=1, guarantee=guarantee)
    bench.send(settings, ids(0, 5))
    backend = StandInRouter()
    worker = bench.worker(settings, backend)
    with bench.ending(worker) as codes:
        wait_until(lambda: done(worker) == 5)
        bench.cluster.deny(settings, right, named(settings, kind))
        bench.produce(settings, [b"{", *(b'{"audio_filepath": "a.wav"}' for _ in range(5))])
        wait_until(lambda: bool(codes))
    assert codes == [exit_codes.SETTINGS]
    assert named(settings, kind) in caplog.text
    assert len(backend.calls) <= 3  # the models do not work in vain again and again
    if guarantee == "exactly_once":
        assert bench.committed(settings) == {0: 5}


@pytest.mark.parametrize("right", ["WRITE", "DESCRIBE"])
def test_a_right_that_is_missing_at_the_start_is_named(
    bench: Bench, right: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = bench.settings()
    topic = settings.kafka.topics.dead_letters
    bench.cluster.deny(settings, right, topic)
    assert bench.worker(settings, StandInRouter()).run() == exit_codes.SETTINGS
    assert topic in caplog.text
    assert "there is no topic" not in caplog.text


@pytest.mark.kafka
@pytest.mark.parametrize("key", ["session_timeout_s", "transaction_timeout_s"])
def test_a_time_that_the_broker_does_not_allow_is_an_error_of_its_setting(
    kafka: Cluster, unique: Callable[[str], str], key: str, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(BrokerCluster(kafka, unique))
    longest: dict[str, Any] = {key: 3000.0}
    settings = bench.settings(**longest)
    assert bench.worker(settings, StandInRouter()).run() == exit_codes.SETTINGS
    assert f"stream.{key}: the broker refuses 3000 s; its " in caplog.text


@pytest.mark.parametrize("kind", ["transcripts", "metrics"])
def test_an_output_topic_that_is_deleted_is_named_and_waited_for(
    bench: Bench, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = bench.settings(partitions=1, transaction_timeout_s=5.0)  # of each try to write
    bench.send(settings, ids(0, 5))
    backend = StandInRouter()
    with bench.running(settings, backend) as worker:
        wait_until(lambda: done(worker) == 5)
        bench.cluster.delete(settings, named(settings, kind))
        bench.send(settings, ids(5, 10))
        wait_until(lambda: f"there is no topic {named(settings, kind)} any more" in caplog.text)
        calls = len(backend.calls)
        bench.pause(2)
        assert len(backend.calls) == calls
        assert worker.stats().paused == 1
        assert not worker.ready
        bench.cluster.create(settings, named(settings, kind))
        wait_until(lambda: done(worker) == 10)
        assert worker.ready
    first = 5 if kind == "transcripts" else 0
    assert bench.transcript_ids(settings) == Counter(ids(first, 10))


def test_compacted_topics_are_warned_of_and_keep_every_letter_without_a_key(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    settings = bench.settings(partitions=1)
    settings.kafka.topics.dead_letters = bench.cluster.topic_with({"cleanup.policy": "compact"})
    bench.produce(settings, [b"{", b"[", None])
    bench.send(settings, ids(0, 5))
    with bench.running(settings, StandInRouter()) as worker:
        wait_until(lambda: done(worker) == 8)
        assert worker.stats().recoveries == 0
    assert f"{settings.kafka.topics.dead_letters} is compacted" in caplog.text
    letters = bench.dead_letters(settings)
    topic = settings.kafka.topics.manifests.encode()
    assert [letter.key for letter in letters] == [topic + b"-0-0", topic + b"-0-1", b"k"]


def test_a_topic_that_cannot_acknowledge_anything_is_refused(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    settings = bench.settings()
    topic = settings.kafka.topics.metrics = bench.cluster.topic_with({"min.insync.replicas": "2"})
    assert bench.worker(settings, StandInRouter()).run() == exit_codes.SETTINGS
    assert f"{topic} has 1 replicas and its min.insync.replicas is 2" in caplog.text


def test_a_clock_that_the_brokers_refuse_is_named(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """As one does that is an hour ahead: here the topic allows its messages no past at all."""
    settings = bench.settings(partitions=1)
    settings.kafka.topics.transcripts = bench.cluster.topic_with(
        {"message.timestamp.before.max.ms": "0"}
    )
    bench.send(settings, ids(0, 5))
    assert bench.worker(settings, StandInRouter()).run() == exit_codes.SETTINGS
    assert "Kafka refuses the time of this machine's clock" in caplog.text
    assert bench.committed(settings) == {}
