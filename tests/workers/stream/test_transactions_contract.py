"""What the stream worker believes of Kafka's transactions, checked on a real broker.

The same tests run on the cluster in memory, so that it cannot be kinder than the real one.
"""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
from kafka import TopicPartition
from kafka.errors import (
    InvalidProducerEpochError,
    KafkaError,
    MessageSizeTooLargeError,
    ProducerFencedError,
)
from kafka.structs import ConsumerGroupMetadata

from tests.workers.stream.clusters import AnyCluster, any_producer
from tests.workers.stream.contract_bench import KafkaOf, at, poll_until
from tests.workers.stream.support import wait_until


def test_readers_see_committed_messages_alone_and_markers_take_offsets(kafka_of: KafkaOf) -> None:
    kafka = kafka_of()
    producer = kafka.producer()
    kafka.write(producer, b"a", b"b")
    kafka.write(producer, b"gone", commit=False)
    kafka.write(producer, b"c")
    assert kafka.values() == [b"a", b"b", b"c"]
    reader = kafka.consumer("0")
    poll_until(reader, lambda: len(reader.offsets) == 3)
    assert reader.offsets == [0, 1, 5]  # 2 and 4 are markers, 3 was aborted
    tp = TopicPartition(kafka.topic, 0)

    def position() -> int:
        found = reader.consumer.fetch_position(tp, timeout_ms=500)
        return found.offset if found else -1

    poll_until(reader, lambda: position() == 7)


def test_an_open_transaction_hides_what_comes_after_it(kafka_of: KafkaOf) -> None:
    kafka = kafka_of()
    first = kafka.producer(transactional_id=f"{kafka.topic}-first")
    second = kafka.producer(transactional_id=f"{kafka.topic}-second")
    kafka.write(second, b"before")
    first.begin_transaction()
    kafka.send(first, b"open")
    first.flush(timeout=10)
    kafka.write(second, b"after")
    assert kafka.values() == [b"before"]
    first.commit_transaction()
    assert kafka.values() == [b"before", b"open", b"after"]


def test_a_new_producer_fences_the_old_one_and_aborts_what_it_left_open(kafka_of: KafkaOf) -> None:
    kafka = kafka_of()
    old = kafka.producer()
    old.begin_transaction()
    kafka.send(old, b"old")
    old.flush(timeout=10)
    new = kafka.producer()
    kafka.write(new, b"new")
    with pytest.raises(ProducerFencedError):
        old.commit_transaction()
    assert kafka.values() == [b"new"]


def test_a_fenced_producer_cannot_send(kafka_of: KafkaOf) -> None:
    kafka = kafka_of()
    old, new = kafka.producer(), kafka.producer()
    old.begin_transaction()
    sent = kafka.send(old, b"old")
    old.flush(timeout=10)
    assert isinstance(sent.exception, ProducerFencedError)
    kafka.write(new, b"new")
    assert kafka.values() == [b"new"]


def test_a_commit_after_the_broker_has_dropped_the_transaction_says_nothing(
    kafka_of: KafkaOf,
) -> None:
    """Hence the publisher looks at every send before it commits."""
    kafka = kafka_of()
    producer = kafka.producer_of_a_dropped_transaction()
    sent = kafka.send(producer, b"b")
    producer.commit_transaction()
    assert isinstance(sent.exception, InvalidProducerEpochError)
    assert kafka.values() == []


def test_a_commit_after_the_failure_of_a_send_was_seen_is_refused(kafka_of: KafkaOf) -> None:
    kafka = kafka_of()
    producer = kafka.producer_of_a_dropped_transaction()
    sent = kafka.send(producer, b"b")
    producer.flush(timeout=10)
    assert isinstance(sent.exception, InvalidProducerEpochError)
    with pytest.raises(KafkaError):
        producer.commit_transaction()
    assert kafka.values() == []


def test_offsets_of_a_dropped_transaction_are_refused(kafka_of: KafkaOf) -> None:
    kafka = kafka_of()
    producer = kafka.producer_of_a_dropped_transaction()
    group = ConsumerGroupMetadata(kafka.settings.kafka.group)
    with pytest.raises(ProducerFencedError):
        producer.send_offsets_to_transaction({TopicPartition(kafka.topic, 0): at(1)}, group)


def test_offsets_and_messages_are_committed_together(kafka_of: KafkaOf) -> None:
    kafka = kafka_of()
    producer = kafka.producer()
    group = ConsumerGroupMetadata(kafka.settings.kafka.group)
    for offset, commit in ((1, False), (2, True)):
        producer.begin_transaction()
        kafka.send(producer, b"%d" % offset)
        producer.flush(timeout=10)
        producer.send_offsets_to_transaction({TopicPartition(kafka.topic, 0): at(offset)}, group)
        assert kafka.cluster.committed(kafka.settings) == {}
        producer.commit_transaction() if commit else producer.abort_transaction()
    assert kafka.cluster.committed(kafka.settings) == {0: 2}
    assert kafka.values() == [b"2"]


def test_a_message_too_large_for_its_topic_makes_the_producer_useless(
    kafka_of: KafkaOf, cluster: AnyCluster
) -> None:
    kafka = kafka_of()
    small = cluster.topic(2_000)
    states = kafka.clients.topics([small, "nowhere"])
    assert states["nowhere"] is None
    state = states[small]
    assert state is not None
    assert (state.partitions, state.replicas, state.max_message_bytes) == (1, 1, 2_000)
    producer = any_producer(kafka.clients)
    large = producer.send(small, key=None, value=random.Random(1).randbytes(10_000), headers=[])
    good = producer.send(small, key=None, value=b"good", headers=[])
    with suppress(KafkaError):  # whether it raises is a matter of moments
        producer.flush(timeout=10)
    wait_until(lambda: isinstance(large.exception, MessageSizeTooLargeError), timeout_s=10)
    assert not good.succeeded()
    assert kafka.cluster.read_all(kafka.settings, small) == []
