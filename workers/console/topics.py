"""What the console reads of Kafka: committed messages, without a consumer group."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from schemas.settings import KafkaSettings
from workers.console.place import Place
from workers.kafka.errors import ANY
from workers.kafka.protocols import Record
from workers.kafka.reader import message_at, read_topic


class Topics(Protocol):
    """Reads topics. Every method blocks; called from threads."""

    def follow(self, topic: str, last: int) -> Iterator[Record | None]:
        """Messages of `topic` without an end, beginning with about the `last` ones there.

        Yields None whenever nothing came for a short while.

        Raises:
            Exception: as `workers.kafka.reader.read_topic`.
        """
        ...

    def message(self, place: Place) -> Record | None:
        """The message at a place; None if there is none, or no more.

        Raises:
            UnknownTopicError: there is no such topic.
            ConnectionError: no broker answers, or it refuses.
        """
        ...


class KafkaTopics:
    """The topics of a cluster."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka

    def follow(self, topic: str, last: int) -> Iterator[Record | None]:
        """See `Topics`."""
        return read_topic(self._kafka, topic, last=last, follow=True)

    def message(self, place: Place) -> Record | None:
        """See `Topics`."""
        try:
            return message_at(self._kafka, place.topic, place.partition, place.offset)
        except ANY as error:
            raise ConnectionError(f"Kafka: {error}") from error
