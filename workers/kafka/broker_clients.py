"""The clients of real brokers, as the stream worker asks for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from schemas.settings import KafkaSettings
from workers.kafka.clients import make_consumer, make_producer
from workers.kafka.group_offsets import group_offsets
from workers.kafka.groups import static_member
from workers.kafka.partition_offsets import PartitionOffsets
from workers.kafka.protocols import Consumer, Producer
from workers.kafka.topic_state import TopicState, topic_states


class BrokerClients:
    """The clients of the cluster that the settings name, for `workers.kafka.protocols.Clients`."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka

    def consumer(self, *, group_id: str, **options: Any) -> Consumer:
        """See `make_consumer`."""
        made: Consumer = make_consumer(self._kafka, group_id=group_id, **options)
        return made

    def producer(self, **options: Any) -> Producer:
        """See `make_producer`."""
        made: Producer = make_producer(self._kafka, **options)
        return made

    def topics(self, names: Iterable[str]) -> dict[str, TopicState | None]:
        """See `topic_states`."""
        return topic_states(self._kafka, names)

    def group_offsets(self) -> list[PartitionOffsets]:
        """See the function `group_offsets`."""
        return group_offsets(self._kafka)

    def static_member(self, instance_id: str) -> str | None:
        """See the function `static_member`."""
        return static_member(self._kafka, instance_id)
