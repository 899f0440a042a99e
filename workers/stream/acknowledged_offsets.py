"""At least once: committing offsets without a transaction, after the outputs are acknowledged."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from kafka import OffsetAndMetadata, TopicPartition

from workers.kafka.errors import refusal_in
from workers.kafka.protocols import Consumer
from workers.stream.offset_tracker import OffsetTracker

log = logging.getLogger(__name__)


class AcknowledgedOffsets:
    """The offsets whose outputs are written, and their commits.

    Args:
        consumer: commits them for its group.
        tracker: knows the assigned partitions; offsets of others are dropped.
    """

    def __init__(self, consumer: Consumer, tracker: OffsetTracker) -> None:
        self._consumer = consumer
        self._tracker = tracker
        self._offsets: dict[TopicPartition, OffsetAndMetadata] = {}
        self._refusal: Exception | None = None

    def commit_soon(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        """Send a commit of `offsets` and return; a failed one is logged and repeated by the next.

        Args:
            offsets: per partition the first offset that is not done.
        """
        self._offsets.update(offsets)
        self._consumer.commit_async(self._of_assigned(), callback=self._ended)

    def raise_refusal(self) -> None:
        """Raise what the broker has refused a commit for, if it has; the next would fare alike."""
        if self._refusal is not None:
            raise self._refusal

    def commit(self, timeout_s: float) -> None:
        """Commit the latest offsets again and wait: commits sent before may not have arrived.

        Raises:
            kafka.errors.KafkaError: they are not committed.
        """
        if self._offsets:
            self._consumer.commit(self._of_assigned(), timeout_ms=timeout_s * 1e3)

    def _of_assigned(self) -> dict[TopicPartition, OffsetAndMetadata]:
        assigned = self._tracker.assigned
        self._offsets = {tp: at for tp, at in self._offsets.items() if tp in assigned}
        return dict(self._offsets)

    def _ended(self, offsets: Any, response: Any) -> None:
        if isinstance(response, Exception):
            log.warning("an offset commit failed; its records may come again: %s", response)
            self._refusal = refusal_in(response)
