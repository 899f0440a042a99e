"""A producer goes on by itself when its broker comes back."""

from __future__ import annotations

import pytest

from schemas.settings import KafkaSettings
from workers.kafka.cluster import Cluster
from workers.kafka.topics import ensure_topics
from workers.stream.clients import make_consumer, make_producer


@pytest.mark.kafka
@pytest.mark.slow
def test_a_transaction_begun_without_a_broker_commits_when_it_is_back():
    with Cluster() as cluster:
        ensure_topics(cluster.bootstrap, {"out": 1})
        kafka = KafkaSettings(bootstrap_servers=cluster.bootstrap_servers)
        producer = make_producer(kafka, transactional_id="t", transaction_timeout_ms=120_000)
        producer.init_transactions()
        producer.begin_transaction()
        producer.send("out", value=b"before").get(30)
        producer.commit_transaction()
        cluster.kill(0)
        producer.begin_transaction()
        sent = producer.send("out", value=b"while it was down")
        with pytest.raises(Exception, match="Timeout"):
            sent.get(2)
        cluster.restart(0)
        producer.flush(timeout=60)
        producer.commit_transaction()
        producer.close()
        consumer = make_consumer(kafka, group_id=None, consumer_timeout_ms=10_000)
        consumer.subscribe(["out"])
        values = [next(consumer).value for _ in range(2)]
        consumer.close()
    assert values == [b"before", b"while it was down"]
