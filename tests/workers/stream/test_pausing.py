from __future__ import annotations

from collections.abc import Callable

import pytest
from kafka import TopicPartition

from tests.workers.stream.support import manifest, produce, settings_for
from workers.broker.cluster import Cluster
from workers.kafka.clients import make_consumer
from workers.stream.pausing import apply_pauses


@pytest.mark.kafka
def test_a_resumed_partition_is_read_on(kafka: Cluster, unique: Callable[[str], str]) -> None:
    settings = settings_for(kafka.bootstrap, unique, partitions=2)
    for partition in (0, 1):
        produce(settings, (manifest(f"r{n}") for n in range(100)), partition=partition)
    topic = settings.kafka.topics.manifests
    first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
    consumer = make_consumer(settings.kafka, group_id=None, fetch_max_wait_ms=50)
    consumer.assign([first, second])
    offsets: dict[TopicPartition, list[int]] = {first: [], second: []}

    def poll(paused: set[TopicPartition], until: Callable[[], bool]) -> None:
        for _ in range(100):
            apply_pauses(consumer, paused)
            assert consumer.paused() == paused
            for tp, messages in consumer.poll(timeout_ms=100, max_records=10).items():
                assert tp not in paused
                offsets[tp] += [message.offset for message in messages]
            if until():
                return
        pytest.fail(f"silent: {[len(found) for found in offsets.values()]}")

    try:
        poll(set(), lambda: len(offsets[first]) > 0 or len(offsets[second]) > 0)
        in_hand = first if offsets[first] else second  # its fetch is half used
        other = second if in_hand == first else first
        poll({in_hand}, lambda: len(offsets[other]) == 100)
        poll(set(), lambda: len(offsets[in_hand]) == 100)
    finally:
        consumer.close()
    assert offsets == {first: list(range(100)), second: list(range(100))}
