"""Each work-around has a test that shows the fault in kafka-python itself, and one of the cure.

When a test of a fault fails, kafka-python has mended it: remove the work-around.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Never
from unittest.mock import MagicMock

import pytest
from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.errors import (
    InvalidTransactionTimeoutError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    UnsupportedCodecError,
)
from kafka.net.compat import KafkaNetClient
from kafka.net.manager import KafkaConnectionManager
from kafka.producer.sender import Sender

from tests.workers.stream.support import wait_until
from workers.broker.cluster import Cluster
from workers.kafka.errors import UnreadableBatchError
from workers.kafka.topics import ensure_topics
from workers.kafka.workarounds import (
    NamingRecords,
    PatchedConsumer,
    PatchedNetClient,
    PatchedProducer,
)


def offsets_after_a_pause(
    consumer_class: type[KafkaConsumer], kafka: Cluster, topic: str, polls: int
) -> set[int]:
    """Offsets of a partition that are read in `polls` polls after it was paused and resumed.

    The other partition was read to its end meanwhile.
    """
    partitions = [TopicPartition(topic, 0), TopicPartition(topic, 1)]
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)
    for number in range(200):
        producer.send(topic, b"x", partition=number % 2)
    producer.close()
    consumer = consumer_class(
        bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest", fetch_max_wait_ms=50
    )
    try:
        consumer.assign(partitions)
        found: dict[TopicPartition, set[int]] = {tp: set() for tp in partitions}

        def poll() -> None:
            for tp, records in consumer.poll(timeout_ms=100, max_records=10).items():
                found[tp] |= {record.offset for record in records}

        while not any(found.values()):
            poll()
        half_read, other = sorted(partitions, key=lambda tp: not found[tp])
        consumer.pause(half_read)
        deadline = time.monotonic() + 20
        while len(found[other]) < 100 and time.monotonic() < deadline:
            poll()
        assert len(found[other]) == 100
        consumer.resume(half_read)
        found[half_read].clear()
        for _ in range(polls):
            poll()
        return found[half_read]
    finally:
        consumer.close()


@pytest.mark.kafka
def refused_for_its_time(producer_class: type[KafkaProducer], kafka: Cluster) -> KafkaError:
    options = {"transactional_id": "long", "transaction_timeout_ms": 3_000_000}
    producer = producer_class(bootstrap_servers=kafka.bootstrap, **options)
    with pytest.raises(KafkaError) as caught:
        producer.init_transactions()
    producer.close()
    return caught.value


@pytest.mark.kafka
def test_a_transaction_that_is_too_long_is_an_unexpected_error_of_no_kind(kafka: Cluster) -> None:
    assert type(refused_for_its_time(KafkaProducer, kafka)) is KafkaError


@pytest.mark.kafka
def test_the_patched_producer_names_it(kafka: Cluster) -> None:
    found = refused_for_its_time(PatchedProducer, kafka)
    assert isinstance(found, InvalidTransactionTimeoutError)


def test_fault_a_resumed_partition_stays_silent(
    kafka: Cluster, make_topic: Callable[..., str]
) -> None:
    assert offsets_after_a_pause(KafkaConsumer, kafka, make_topic(partitions=2), 30) == set()


@pytest.mark.kafka
def test_cure_a_resumed_partition_is_read_on(
    kafka: Cluster, make_topic: Callable[..., str]
) -> None:
    found = offsets_after_a_pause(PatchedConsumer, kafka, make_topic(partitions=2), 30)
    assert found == set(range(10, 100))


def assigned_after_short_polls(
    consumer_class: type[KafkaConsumer], kafka: Cluster, topic: str
) -> set[TopicPartition]:
    """What the only member of a group is assigned when it polls for a millisecond at a time.

    The metadata of the topic arrive after the first assignment: kafka-python asks for them at most
    once in 100 ms, and has just asked when it connected.
    """
    consumer = consumer_class(
        bootstrap_servers=kafka.bootstrap, group_id=topic, enable_auto_commit=False
    )
    try:
        consumer.subscribe([topic])
        deadline = time.monotonic() + 3
        while not consumer.assignment() and time.monotonic() < deadline:
            consumer.poll(timeout_ms=1)
        assigned: set[TopicPartition] = consumer.assignment()
        return assigned
    finally:
        consumer.close(timeout_ms=1000)


@pytest.mark.kafka
def test_fault_a_rebalance_that_outlasts_a_poll_is_never_ended(
    kafka: Cluster, make_topic: Callable[..., str]
) -> None:
    topics = [make_topic() for _ in range(5)]
    # at once, where the broker takes longer than a millisecond to answer
    assert any(not assigned_after_short_polls(KafkaConsumer, kafka, topic) for topic in topics)


@pytest.mark.kafka
def test_cure_a_rebalance_that_outlasts_a_poll_is_ended(
    kafka: Cluster, make_topic: Callable[..., str]
) -> None:
    for topic in (make_topic() for _ in range(5)):
        assert assigned_after_short_polls(PatchedConsumer, kafka, topic)


def closed_with_unsent_messages(
    producer_class: type[KafkaProducer], kafka: Cluster, topic: str
) -> bool:
    """Whether the producer's thread runs on after a `close` that found no time to flush."""
    producer = producer_class(bootstrap_servers=kafka.bootstrap, linger_ms=60_000)
    producer.send(topic, b"x")
    sender = producer._sender
    with pytest.raises(KafkaTimeoutError):
        producer.close(timeout=0)
    sender.join(timeout=2)
    alive: bool = sender.is_alive()
    sender.force_close()
    sender.join(timeout=10)
    return alive


@pytest.mark.kafka
def test_fault_close_leaves_the_producers_thread_running(
    kafka: Cluster, make_topic: Callable[..., str]
) -> None:
    assert closed_with_unsent_messages(KafkaProducer, kafka, make_topic())


@pytest.mark.kafka
def test_cure_close_ends_the_producers_thread(
    kafka: Cluster, make_topic: Callable[..., str]
) -> None:
    assert not closed_with_unsent_messages(PatchedProducer, kafka, make_topic())


def request_is_kept(client_class: type[KafkaNetClient], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a transactional request is tried again that found its coordinator unreachable."""

    def unreachable(self: object, node_id: object, timeout_ms: float) -> Never:
        raise KafkaConnectionError

    monkeypatch.setattr(KafkaNetClient, "await_ready", unreachable)
    transactions = MagicMock()
    transactions.is_completing.return_value = False
    sender = SimpleNamespace(
        _transaction_manager=transactions,
        _accumulator=MagicMock(),
        _client=object.__new__(client_class),
        _running=True,
        _force_close=False,
        config={"request_timeout_ms": 100, "retry_backoff_ms": 1},
    )
    assert Sender._maybe_send_pending_request(sender)
    transactions.lookup_coordinator_for_request.assert_called_once()
    return bool(transactions.retry.called)


def test_fault_a_request_is_lost_when_the_coordinator_cannot_be_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not request_is_kept(KafkaNetClient, monkeypatch)


def test_cure_a_request_is_kept_when_the_coordinator_cannot_be_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert request_is_kept(PatchedNetClient, monkeypatch)


@pytest.mark.kafka
def test_fault_a_position_has_no_leader_epoch(
    kafka: Cluster, make_topic: Callable[..., str]
) -> None:
    """When `seek` takes one, or `position` gives one, `PatchedConsumer` can use that."""
    tp = TopicPartition(make_topic(), 0)
    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap)
    try:
        consumer.assign([tp])
        with pytest.raises((TypeError, ValueError)):
            consumer.seek(tp, OffsetAndMetadata(0, "", 3))
        consumer.seek(tp, 0)
        assert isinstance(consumer.position(tp), int)
    finally:
        consumer.close()


@pytest.mark.kafka
def test_cure_a_position_has_its_leader_epoch_and_a_topic_its_id(
    kafka: Cluster, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    tp = TopicPartition(topic, 0)
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)
    producer.send(topic, b"x", partition=0)
    producer.close()
    consumer = PatchedConsumer(bootstrap_servers=kafka.bootstrap)
    try:
        consumer.assign([tp])
        assert consumer.log_range(tp, timeout_ms=10_000) == (0, 1)
        consumer.seek_to(tp, OffsetAndMetadata(0, "", 0))
        assert consumer.fetch_position(tp, timeout_ms=10_000) == OffsetAndMetadata(0, "", 0)
        assert len(consumer.topic_id(topic, refresh_timeout_ms=10_000)) == 36
    finally:
        consumer.close()


def records_of_a_broken_batch(kind: type[Fetcher.PartitionRecords], error: Exception) -> Any:
    batch = MagicMock(magic=2, last_offset=9, is_control_batch=False)
    batch.__iter__.side_effect = error
    batches = SimpleNamespace(next_batch=lambda: batch)
    return kind(5, TopicPartition("in", 0), batches)


def test_records_that_have_failed_are_taken_for_ones_that_are_still_to_be_returned() -> None:
    """Hence the next `poll` of kafka-python's own consumer never returns."""
    records = records_of_a_broken_batch(Fetcher.PartitionRecords, ValueError("broken"))
    with pytest.raises(ValueError, match="broken"):
        records.take(1)
    assert records
    assert records.take(1) == []
    assert records


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("secret"), "cannot be read: ValueError"),
        (
            UnsupportedCodecError("Libraries for zstd compression codec not found"),
            "it is compressed with zstd; install the Python package `zstandard`",
        ),
    ],
)
def test_records_that_have_failed_are_named_and_let_go(error: Exception, reason: str) -> None:
    records = records_of_a_broken_batch(NamingRecords, error)
    with pytest.raises(UnreadableBatchError) as raised:
        records.take(1)
    assert str(raised.value).startswith("offsets 5 to 9 of topic in, partition 0, cannot be read")
    assert str(raised.value).endswith(reason)
    assert not records


def test_a_connection_that_nobody_answers_is_given_up_before_the_next_address_is_due() -> None:
    """Out of three brokers the first may be a machine that is off; there is no option for this."""
    assert "socket_connection_setup_timeout_ms" not in KafkaConsumer.DEFAULT_CONFIG
    assert KafkaConnectionManager.DEFAULT_CONFIG["socket_connection_setup_timeout_ms"] == 3_000


@pytest.mark.kafka
def test_a_fetch_waits_as_long_as_the_poll_says(kafka: Cluster) -> None:
    topic = "waits-of-fetches"
    ensure_topics(kafka.bootstrap, {topic: 1})
    consumer = PatchedConsumer(topic, bootstrap_servers=kafka.bootstrap, fetch_max_wait_ms=50)

    def longest_ms(**options: float) -> float:
        consumer.poll(timeout_ms=50, **options)
        metrics = consumer.metrics()["consumer-fetch-manager-metrics"]
        return float(metrics["fetch-latency-max"])

    with contextlib.closing(consumer):
        wait_until(lambda: longest_ms() >= 50)
        wait_until(lambda: longest_ms(fetch_wait_ms=3000) >= 3000)
