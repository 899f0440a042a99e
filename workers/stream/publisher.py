"""Writing outputs and offsets to Kafka, together or not at all.

Two faults of kafka-python 3.0 are worked around here:

- `commit_transaction()` can return normally after the broker has dropped the transaction, because
  a failed *send* silently starts a new epoch. So every send is flushed and its future checked
  before the commit, and after any error the producer is thrown away. The next one's
  `init_transactions()` settles what the last one left open, and the caller goes back to the
  offsets that the broker then reports: whatever really happened, that is the truth.
- `send_offsets_to_transaction()` and `commit_transaction()` wait without a timeout; a watchdog
  ends the process when one hangs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from kafka.errors import FencedInstanceIdError
from kafka.structs import ConsumerGroupMetadata
from opentelemetry.trace import SpanKind

from schemas.settings import KafkaSettings, StreamSettings
from workers.kafka.messages import OutputMessage
from workers.kafka.protocols import Clients, Producer
from workers.kafka.topic_state import TopicState
from workers.stream.internal_fault import internal_fault
from workers.stream.metrics_events import aggregate
from workers.stream.offset_tracker import CompletedPrefix
from workers.stream.output_messages import Outputs
from workers.stream.pending_record import PendingRecord
from workers.stream.topic_checks import check_outputs, outputs_of
from workers.stream.tracing import batch_span
from workers.stream.watchdog import Watchdog

log = logging.getLogger(__name__)

#: A producer sends its batch of a partition when it has this many bytes, or on the flush.
_BATCH_BYTES = 256 * 1024
_LINGER_MS = 100
_CLOSE_TIMEOUT_S = 2.0
#: kafka-python forgets a request for a coordinator that refuses the connection, and waits for its
#: answer this long; the next producer's request arrives.
_MAX_BLOCK_MS = 10_000


class PublishError(Exception):
    """The outputs and offsets were not committed, or it is not known whether they were.

    The producer is closed. Call `open` again, then go back to the committed offsets.
    """


class Publisher:
    """Owns the producer and a thread; one call at a time runs on it, in order.

    Args:
        clients: make the producers.
        kafka, stream: settings; `stream.guarantee` decides whether there are transactions.
        instance: stable name of this worker; the transactional id is ``{group}-{instance}``, and
            so is the consumer's `group.instance.id`.
        watchdog: guards the calls that wait without a timeout.
    """

    def __init__(
        self,
        clients: Clients,
        kafka: KafkaSettings,
        stream: StreamSettings,
        instance: str,
        watchdog: Watchdog,
    ) -> None:
        self._clients = clients
        self._kafka = kafka
        self._stream = stream
        self._instance = instance
        self._exactly_once = stream.guarantee == "exactly_once"
        self._transactional_id = f"{kafka.group}-{instance}"
        self._watchdog = watchdog
        self._producer: Producer | None = None
        self._outputs: Outputs  # of that producer
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="stream-publish")
        self._last = time.monotonic()  # of the previous commit

    def open(self) -> None:
        """Make the producer and fence an earlier one of the same id. Blocks, at most a minute.

        What the earlier one left open is aborted, or committed if it had got that far. The output
        topics are looked at each time: one that is gone, may not be written to, or holds smaller
        messages now, fails every transaction.

        Raises:
            KafkaUnreachableError, SettingsError, KafkaError: there is no producer now.
        """
        self._discard()
        states = self._clients.topics(outputs_of(self._kafka.topics))
        check_outputs(self._kafka.topics, states)
        self._producer = producer = self._clients.producer(**self._options())
        self._outputs = Outputs(self._kafka, _limits(producer, states))
        if self._exactly_once:
            producer.init_transactions()

    def open_later(self, delay_s: float, own_member: Callable[[], str]) -> Future[None]:
        """`open` on the publishing thread after a pause, unless another member has taken our place.

        Without that look, two workers of one name would fence each other in turn for a while.
        The future fails with what `open` raises, or with `FencedInstanceIdError`.

        Args:
            delay_s: length of the pause.
            own_member: the consumer's member id; empty while it is joining.
        """

        def reopen() -> None:
            time.sleep(delay_s)
            holder = self._clients.static_member(self._transactional_id)
            if holder and own_member() and holder != own_member():
                raise FencedInstanceIdError(f"{self._transactional_id} is another member")
            self.open()

        return self._thread.submit(reopen)

    def publish(
        self, prefix: CompletedPrefix, group_metadata: ConsumerGroupMetadata
    ) -> Future[None]:
        """Send the results of `prefix` and, exactly-once, commit its offsets in one transaction.

        Returns at once. The future fails with `PublishError`.

        Args:
            prefix: finished records of each partition, up to the first unfinished one.
            group_metadata: the consumer's `group_metadata()`, whole: with it the broker refuses
                the offsets of a worker that has lost the partitions (KIP-447).
        """
        return self._thread.submit(self._publish, prefix, group_metadata)

    def close(self) -> None:
        """Close the producer and end the thread. An open transaction is left to be aborted."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._discard()

    def _options(self) -> dict[str, Any]:
        timeout_ms = int(self._stream.transaction_timeout_s * 1e3)
        options: dict[str, Any] = {
            "client_id": self._transactional_id,
            "linger_ms": _LINGER_MS,
            "batch_size": _BATCH_BYTES,
            "delivery_timeout_ms": timeout_ms + _LINGER_MS,
            "request_timeout_ms": timeout_ms,
            "max_block_ms": min(timeout_ms, _MAX_BLOCK_MS),
        }
        if self._exactly_once:
            options["transactional_id"] = self._transactional_id
            options["transaction_timeout_ms"] = timeout_ms
        return options

    def _publish(self, prefix: CompletedPrefix, group_metadata: ConsumerGroupMetadata) -> None:
        producer = self._producer
        if producer is None:
            raise PublishError("there is no producer")
        topics, group = self._kafka.topics, self._kafka.group
        try:
            with batch_span("send", topics.transcripts, group, prefix.records, SpanKind.PRODUCER):
                if self._exactly_once:
                    producer.begin_transaction()
                self._send(producer, self._messages(prefix.records))
            if self._exactly_once:
                with batch_span("commit", topics.manifests, group, prefix.records, SpanKind.CLIENT):
                    self._commit(producer, prefix, group_metadata)
        except Exception as error:
            self._discard()
            raise PublishError(f"{type(error).__name__}: {error}") from error

    def _messages(self, records: list[PendingRecord]) -> list[OutputMessage]:
        since, self._last = self._last, time.monotonic()
        now = time.time()  # which may have been set back: the length of the interval is certain
        begin = now - (self._last - since)
        try:
            return self._made(begin, now, records)
        except Exception:
            for record in records:  # one of them is to blame; the others go on without it
                try:
                    self._made(begin, now, [record])
                except Exception as error:
                    record.outcome = record.error = internal_fault(record, error)
            return self._made(begin, now, records)

    def _made(self, begin: float, end: float, records: list[PendingRecord]) -> list[OutputMessage]:
        """The results of `records`, and the metrics events of the interval."""
        events = aggregate(self._instance, begin, end, records)
        return [*map(self._outputs.result, records), *map(self._outputs.metrics, events)]

    def _commit(
        self, producer: Producer, prefix: CompletedPrefix, group_metadata: ConsumerGroupMetadata
    ) -> None:
        with self._watchdog.guard("sending offsets to the transaction"):
            producer.send_offsets_to_transaction(prefix.offsets, group_metadata)
        with self._watchdog.guard("committing the transaction"):
            producer.commit_transaction()

    def _send(self, producer: Producer, messages: list[OutputMessage]) -> None:
        """Send and wait for every acknowledgement; raises the first failure."""
        futures = [
            producer.send(topic, key=key, value=value, headers=headers)
            for topic, key, value, headers in messages
        ]
        producer.flush(timeout=self._stream.transaction_timeout_s)
        for future in futures:
            if not future.succeeded():
                raise future.exception or TimeoutError("a send was not acknowledged")

    def _discard(self) -> None:
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            producer.close(timeout=_CLOSE_TIMEOUT_S)
        except Exception as error:
            log.debug("closing the producer: %s", error)


def _limits(producer: Producer, states: Mapping[str, TopicState | None]) -> dict[str, int]:
    """Largest message in bytes by output topic."""
    largest = producer.config["max_request_size"]
    allowed = {name: state.max_message_bytes if state else None for name, state in states.items()}
    return {name: min(largest, limit or largest) for name, limit in allowed.items()}
