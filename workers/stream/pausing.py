"""Pausing and resuming partitions, around a fault of kafka-python 3.0.12.

The consumer sets the fetched records of a paused partition aside, and takes them up again after
`resume` only while no other partition's records are in hand. Records that are in hand but used up
still count there (`Fetcher.fetched_records` tests for None, not for emptiness), so a resumed
partition can stay silent for ever, and nothing new is fetched for it either.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from kafka import TopicPartition


def apply_pauses(consumer: Any, wanted: Collection[TopicPartition]) -> None:
    """Pause exactly the `wanted` ones of the assigned partitions. Call it before every poll.

    The consumer's own set is the only memory of what is paused, so a reassignment cannot make it
    wrong.
    """
    paused = consumer.paused()
    if pause := set(wanted) - paused:
        consumer.pause(*pause)
    if resume := paused - set(wanted):
        consumer.resume(*resume)
    _let_go_of_used_up_records(consumer)


def _let_go_of_used_up_records(consumer: Any) -> None:
    fetcher = consumer._fetcher
    in_hand = fetcher._next_partition_records
    if in_hand is not None and not in_hand:
        fetcher._next_partition_records = None
