"""Three brokers: committed records survive the loss of a partition's leader."""

from __future__ import annotations

import psutil
import pytest
from kafka import KafkaAdminClient

from tests.workers.kafka.clients import read, write
from workers.broker.cluster import Cluster
from workers.kafka.topics import ensure_topics

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def leader(cluster: Cluster, topic: str) -> int:
    """Index of the broker that leads partition 0."""
    with KafkaAdminClient(bootstrap_servers=cluster.bootstrap) as admin:
        (described,) = admin.describe_topics([topic])
    return int(described["partitions"][0]["leader_id"]) - 1


def test_a_leader_is_killed() -> None:
    with Cluster(brokers=3) as cluster:
        assert len(cluster.bootstrap_servers) == 3
        ensure_topics(cluster.bootstrap, {"records": 1})
        write(cluster.bootstrap, "records", [b"1"])
        lost = leader(cluster, "records")
        cluster.kill(lost)
        write(cluster.bootstrap, "records", [b"2"])
        assert leader(cluster, "records") != lost
        cluster.restart(lost)
        write(cluster.bootstrap, "records", [b"3"])
        second = leader(cluster, "records")
        cluster.kill(second)
        assert read(cluster.bootstrap, "records") == [b"1", b"2", b"3"]
        pids = [pid for pid in cluster.pids if pid is not None]
    assert len(pids) == 2
    assert not any(psutil.pid_exists(pid) for pid in pids)
