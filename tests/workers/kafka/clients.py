"""Transactional writing and committed reading, for the tests of the broker."""

from __future__ import annotations

import time
from collections.abc import Iterable

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaTimeoutError


def write(bootstrap: str, topic: str, values: Iterable[bytes], commit: bool = True) -> None:
    """Write `values` in one transaction and commit it, or abort it."""
    producer = transactional_producer(bootstrap, f"{topic}-writer")
    try:
        producer.begin_transaction()
        sent = [producer.send(topic, value) for value in values]
        producer.flush()
        for future in sent:
            future.get(timeout=10)
        if commit:
            producer.commit_transaction()
        else:
            producer.abort_transaction()
    finally:
        producer.close()


def transactional_producer(bootstrap: str, transactional_id: str) -> KafkaProducer:
    """A producer that may begin a transaction.

    kafka-python 3.0.12 loses the request for its id when the transaction coordinator refuses the
    connection, and then waits in vain. Another producer does better.
    """
    for attempts_left in reversed(range(5)):
        producer = KafkaProducer(
            bootstrap_servers=bootstrap, transactional_id=transactional_id, max_block_ms=5000
        )
        try:
            producer.init_transactions()
            return producer
        except KafkaTimeoutError:
            producer.close()
            if not attempts_left:
                raise
    raise AssertionError


def read(bootstrap: str, topic: str, timeout_s: float = 30.0) -> list[bytes]:
    """All committed values of the topic's partition 0, up to its end as it is now."""
    partition = TopicPartition(topic, 0)
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    values: list[bytes] = []
    try:
        consumer.assign([partition])
        end = consumer.end_offsets([partition])[partition]
        deadline = time.monotonic() + timeout_s
        while consumer.position(partition) < end:
            assert time.monotonic() < deadline, f"{len(values)} values read before {end}"
            for records in consumer.poll(timeout_ms=200).values():
                values += [record.value for record in records]
    finally:
        consumer.close()
    return values
