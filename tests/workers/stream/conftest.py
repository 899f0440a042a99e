from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.workers.stream.clusters import AnyCluster, BrokerCluster, InMemoryCluster
from tests.workers.stream.contract_bench import Kafka, KafkaOf


@pytest.fixture(params=["memory", pytest.param("broker", marks=pytest.mark.kafka)])
def cluster(request: pytest.FixtureRequest, unique: Callable[[str], str]) -> AnyCluster:
    """A cluster in memory, and then a real broker: a test with it runs on both."""
    if request.param == "memory":
        return InMemoryCluster(unique)
    return BrokerCluster(request.getfixturevalue("kafka"), unique)


@pytest.fixture
def kafka_of(cluster: AnyCluster) -> Iterator[KafkaOf]:
    opened: list[Kafka] = []

    def make(partitions: int = 1) -> Kafka:
        opened.append(Kafka(cluster, partitions))
        return opened[-1]

    yield make
    for each in opened:
        each.close()
