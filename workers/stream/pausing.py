"""Pausing and resuming partitions."""

from __future__ import annotations

from collections.abc import Collection

from kafka import TopicPartition

from workers.kafka.protocols import Consumer


def apply_pauses(consumer: Consumer, wanted: Collection[TopicPartition]) -> None:
    """Pause exactly the `wanted` ones of the assigned partitions.

    The consumer's own set is the only memory of what is paused, so a reassignment cannot make it
    wrong.
    """
    paused = consumer.paused()
    if pause := set(wanted) - paused:
        consumer.pause(*pause)
    if resume := paused - set(wanted):
        consumer.resume(*resume)
