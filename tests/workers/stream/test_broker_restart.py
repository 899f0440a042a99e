"""Clients and workers go on by themselves when their broker comes back."""

from __future__ import annotations

import time
import uuid

import pytest

from schemas.settings import KafkaSettings
from tests.workers.stream.support import (
    StandInRouter,
    done,
    manifest,
    produce,
    running,
    settings_for,
    wait_until,
)
from workers.broker.cluster import Cluster
from workers.kafka.clients import make_consumer, make_producer
from workers.kafka.topics import ensure_topics


@pytest.mark.kafka
@pytest.mark.slow
def test_a_transaction_begun_without_a_broker_commits_when_it_is_back() -> None:
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


@pytest.mark.kafka
@pytest.mark.slow
def test_an_idle_worker_outlives_its_broker() -> None:
    with Cluster() as cluster:
        settings = settings_for(cluster.bootstrap, lambda name: f"{name}-{uuid.uuid4().hex}", 2)
        with running(settings, StandInRouter()) as worker:
            for down_s in (0.0, 8.0):  # shorter and longer than the session of the group
                wait_until(lambda: worker.ready)
                cluster.kill(0)
                time.sleep(down_s)
                assert worker.heartbeat_age_s < 20  # one wait of the client, at most
                cluster.restart(0)
            produce(settings, [manifest(f"r{number}") for number in range(10)])
            wait_until(lambda: done(worker) == 10)
