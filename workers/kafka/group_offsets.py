"""The committed offsets of the workers' group: looking at them, and setting them on purpose."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Literal

from kafka import OffsetAndMetadata, TopicPartition
from kafka.errors import CoordinatorNotAvailableError

from schemas.settings import KafkaSettings, SettingsError
from workers.kafka.clients import make_consumer
from workers.kafka.groups import group_members
from workers.kafka.partition_offsets import PartitionOffsets
from workers.kafka.reader import partitions_of

#: Where to go on: the first record, behind the last one, an offset, or the first record since.
Target = Literal["earliest", "latest"] | int | datetime

_POLL_S = 0.5
#: A broker that no group has used yet makes its coordinator when it is first asked for one.
_COORDINATOR_S = 15.0


class GroupActiveError(Exception):
    """Workers of the group are running, so its offsets cannot be set; the message names them."""


def group_offsets(kafka: KafkaSettings) -> list[PartitionOffsets]:
    """The offsets of every partition of the manifest topic. Blocks as `make_consumer` does.

    Raises:
        UnknownTopicError: there is no manifest topic.
    """
    partitions = partitions_of(kafka, kafka.topics.manifests)
    consumer: Any = make_consumer(kafka, group_id=kafka.group)
    try:
        starts, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
        return [
            PartitionOffsets(
                partition=tp.partition,
                start=starts[tp],
                end=ends[tp],
                committed=consumer.committed(tp),
            )
            for tp in partitions
        ]
    finally:
        consumer.close()


def resolve(
    kafka: KafkaSettings, found: Collection[PartitionOffsets], target: Target
) -> dict[int, int]:
    """The offset that `target` means in each partition of `found`.

    Raises:
        SettingsError: an offset that the log of a partition does not have.
    """
    if isinstance(target, datetime):
        return _since(kafka, found, target)
    if isinstance(target, int):
        for each in found:
            if not each.start <= target <= each.end:
                raise SettingsError(
                    f"--to {target}: partition {each.partition} has offsets {each.start} to "
                    f"{each.end - 1}; {each.end} would wait for the next record"
                )
        return {each.partition: target for each in found}
    return {each.partition: each.start if target == "earliest" else each.end for each in found}


def set_group_offsets(
    kafka: KafkaSettings, offsets: Mapping[int, int], timeout_s: float = 0.0
) -> None:
    """Commit `offsets` for the group, by partition of the manifest topic.

    Args:
        kafka: the settings' section.
        offsets: by partition, of the next record to be done.
        timeout_s: longest wait for the group to be empty: a worker that has stopped stays a
            member until its session times out.

    Raises:
        GroupActiveError: the group still has members.
    """
    wait_until_empty(kafka, timeout_s)
    topic = kafka.topics.manifests
    consumer: Any = make_consumer(kafka, group_id=kafka.group)
    try:
        consumer.assign(partitions_of(kafka, topic))
        consumer.commit(
            {
                TopicPartition(topic, number): OffsetAndMetadata(offset, "", -1)
                for number, offset in offsets.items()
            }
        )
    finally:
        consumer.close(autocommit=False)


def wait_until_empty(kafka: KafkaSettings, timeout_s: float) -> None:
    """Wait until the group has no members; see `set_group_offsets`.

    Raises:
        GroupActiveError: it still has some after `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while members := _members(kafka):
        if time.monotonic() >= deadline:
            raise GroupActiveError(
                f"workers of group {kafka.group} are running ({', '.join(members)}); stop them "
                "first. A worker that has stopped leaves the group after "
                "`stream.session_timeout_s`"
            )
        time.sleep(_POLL_S)


def _since(
    kafka: KafkaSettings, found: Collection[PartitionOffsets], time_: datetime
) -> dict[int, int]:
    consumer: Any = make_consumer(kafka, group_id=None)
    topic = kafka.topics.manifests
    try:
        asked = {TopicPartition(topic, each.partition): time_.timestamp() * 1e3 for each in found}
        answers = consumer.offsets_for_times({tp: int(ms) for tp, ms in asked.items()})
    finally:
        consumer.close()
    first = {tp.partition: at.offset for tp, at in answers.items() if at is not None}
    return {each.partition: first.get(each.partition, each.end) for each in found}


def _members(kafka: KafkaSettings) -> list[str]:
    deadline = time.monotonic() + _COORDINATOR_S
    while True:
        try:
            members = group_members(kafka)
            break
        except CoordinatorNotAvailableError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_POLL_S)
    return sorted(each["group_instance_id"] or each["member_id"] for each in members)
