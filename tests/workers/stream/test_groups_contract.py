"""What the stream worker believes of Kafka's groups and logs, checked on a real broker.

The same tests run on the cluster in memory, so that it cannot be kinder than the real one.
"""

from __future__ import annotations

import pytest
from kafka import OffsetAndMetadata, TopicPartition
from kafka.errors import (
    FencedInstanceIdError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from kafka.structs import ConsumerGroupMetadata

from tests.workers.stream.clusters import AnyCluster, Bench
from tests.workers.stream.contract_bench import Kafka, KafkaOf, Reader, at, poll_until, polling
from tests.workers.stream.support import wait_until


def refuses(kafka: Kafka, metadata: ConsumerGroupMetadata) -> str:
    """The error of a commit of offsets with that membership."""
    producer = kafka.producer()
    producer.begin_transaction()
    with pytest.raises(KafkaError) as raised:
        producer.send_offsets_to_transaction({TopicPartition(kafka.topic, 0): at(1)}, metadata)
    assert kafka.cluster.committed(kafka.settings) == {}
    return type(raised.value).__name__


def test_offsets_of_an_earlier_generation_are_refused(kafka_of: KafkaOf) -> None:
    kafka = kafka_of(2)
    first, second = kafka.consumer("first"), kafka.consumer("second")
    with polling(first):
        wait_until(lambda: first.stable and first.partitions == {0, 1})
    stale = first.consumer.group_metadata()
    with polling(first, second):
        wait_until(lambda: len(second.partitions) == 1 and first.stable and second.stable)
    assert refuses(kafka, stale) == "CommitFailedError"


def test_a_partition_goes_to_a_new_member_once_the_old_one_has_given_it_up(
    kafka_of: KafkaOf,
) -> None:
    kafka = kafka_of(4)
    first, second = kafka.consumer("first"), kafka.consumer("second")
    with polling(first):
        wait_until(lambda: first.stable and first.partitions == {0, 1, 2, 3})
    with polling(first, second):
        wait_until(lambda: second.stable and len(second.partitions) == 2)
        wait_until(lambda: first.stable and first.generation == second.generation)
    moved = second.partitions
    assert first.partitions == {0, 1, 2, 3} - moved
    assert [event for event in first.events if event[1]] == [
        ("assigned", {0, 1, 2, 3}),
        ("revoked", moved),
    ]
    assert [event for event in second.events if event[1]] == [("assigned", moved)]


def test_a_static_member_comes_back_without_a_rebalance_and_fences_the_old_one(
    kafka_of: KafkaOf,
) -> None:
    kafka = kafka_of(2)
    old, other = kafka.consumer("twin"), kafka.consumer("other")
    with polling(old, other):
        wait_until(lambda: len(old.partitions) == len(other.partitions) == 1)
        wait_until(lambda: old.stable and other.stable and old.generation == other.generation)
    generation = other.generation
    fenced = old.consumer.group_metadata()
    new = kafka.consumer("twin")
    with polling(other, new):
        wait_until(lambda: new.stable and len(new.partitions) == 1)
        kafka.cluster.pause(1.0)
    assert (new.generation, other.generation) == (generation, generation)
    assert new.partitions == old.partitions == {0, 1} - other.partitions
    assert kafka.clients.static_member("twin") == new.consumer.group_metadata().member_id
    assert refuses(kafka, fenced) == "FencedInstanceIdError"
    assert isinstance(raised(old), FencedInstanceIdError)  # its heartbeat was told
    with polling(new):
        wait_until(lambda: new.stable)


def test_a_reader_goes_on_where_the_group_has_committed(kafka_of: KafkaOf) -> None:
    kafka = kafka_of()
    kafka.write(kafka.producer(), *(b"%d" % number for number in range(10)))
    tp = TopicPartition(kafka.topic, 0)
    first = kafka.consumer("0")
    poll_until(first, lambda: len(first.offsets) >= 4, max_records=4)
    assert first.offsets == [0, 1, 2, 3]
    first.consumer.commit({tp: OffsetAndMetadata(3, "mine", 0)}, timeout_ms=5_000)
    first.consumer.close(autocommit=False, timeout_ms=1_000)
    second = kafka.consumer("0")
    poll_until(second, lambda: len(second.offsets) == 7)
    assert second.offsets == list(range(3, 10))
    found = second.consumer.committed(tp, metadata=True, timeout_ms=5_000)
    assert found == OffsetAndMetadata(3, "mine", 0)
    second.consumer.seek_to(tp, at(8))
    poll_until(second, lambda: second.offsets[7:] == [8, 9])


def test_a_paused_partition_brings_nothing_until_it_is_resumed(kafka_of: KafkaOf) -> None:
    kafka = kafka_of(2)
    kafka.cluster.produce(kafka.settings, [b"x"] * 20)
    reader = kafka.consumer("0")
    paused = TopicPartition(kafka.topic, 0)
    with polling(reader):
        wait_until(lambda: reader.stable and reader.partitions == {0, 1})
    reader.consumer.seek_to_beginning(*reader.consumer.assignment())
    reader.consumer.pause(paused)
    assert reader.consumer.paused() == {paused}
    reader.offsets.clear()
    poll_until(reader, lambda: len(reader.offsets) >= 10)
    kafka.cluster.pause(0.5)
    reader.poll()
    assert reader.offsets == list(range(10))
    reader.consumer.resume(paused)
    poll_until(reader, lambda: len(reader.offsets) == 20)


def test_the_bench_sees_both_clusters_alike(cluster: AnyCluster) -> None:
    bench = Bench(cluster)
    settings = bench.settings(partitions=2)
    bench.send(settings, ["a", "b", "c"])
    assert bench.end_offsets(settings) == {0: 2, 1: 1}
    assert bench.committed(settings) == {}


def raised(reader: Reader) -> KafkaError:
    """What a poll of `reader` raises before long."""
    found: list[KafkaError] = []

    def met() -> bool:
        try:
            reader.poll()
        except KafkaError as error:
            found.append(error)
        return bool(found)

    wait_until(met)
    return found[0]


def test_without_a_reset_a_poll_names_the_partitions_that_have_no_offset(
    kafka_of: KafkaOf,
) -> None:
    kafka = kafka_of()
    kafka.cluster.produce(kafka.settings, [b"x"])
    reader = kafka.consumer("0", auto_offset_reset="none")
    assert isinstance(raised(reader), NoOffsetForPartitionError)
    reader.consumer.seek_to_beginning(TopicPartition(kafka.topic, 0))
    poll_until(reader, lambda: reader.offsets == [0])


def test_an_offset_that_the_log_has_lost_is_named(kafka_of: KafkaOf) -> None:
    kafka = kafka_of()
    tp = TopicPartition(kafka.topic, 0)
    kafka.cluster.produce(kafka.settings, [b"x"] * 10)
    reader = kafka.consumer("0", auto_offset_reset="none")
    raised(reader)
    assert reader.consumer.log_range(tp, timeout_ms=5_000) == (0, 10)
    reader.consumer.seek_to(tp, at(3))
    kafka.cluster.trim(kafka.settings, 0, 6)
    error = raised(reader)
    assert isinstance(error, OffsetOutOfRangeError)
    assert error.args == ({tp: 3},)
    assert reader.consumer.log_range(tp, timeout_ms=5_000) == (6, 10)
    reader.consumer.seek_to(tp, at(8))
    poll_until(reader, lambda: reader.offsets == [8, 9])


def test_a_topic_that_was_created_again_has_another_id_and_no_committed_offsets(
    kafka_of: KafkaOf,
) -> None:
    kafka = kafka_of()
    tp = TopicPartition(kafka.topic, 0)
    kafka.cluster.produce(kafka.settings, [b"x"] * 3)
    reader = kafka.consumer("0")
    poll_until(reader, lambda: len(reader.offsets) == 3)
    reader.consumer.commit({tp: at(3)}, timeout_ms=5_000)
    before = reader.consumer.topic_id(kafka.topic)
    assert before
    kafka.cluster.recreate(kafka.settings)
    assert reader.consumer.topic_id(kafka.topic, refresh_timeout_ms=5_000) != before
    assert kafka.cluster.committed(kafka.settings) == {}
