"""Writing outputs and offsets to Kafka, together or not at all.

Two traps of kafka-python 3.0 are closed here:

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
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from kafka import OffsetAndMetadata
from kafka.errors import FencedInstanceIdError
from opentelemetry.trace import SpanKind

from schemas.settings import KafkaSettings, SettingsError, StreamSettings
from workers.stream.clients import make_producer, message_limits, static_member
from workers.stream.messages import MIN_MESSAGE_BYTES, Message, Outputs
from workers.stream.metrics import aggregate
from workers.stream.offsets import Taken
from workers.stream.tracing import batch_span
from workers.stream.watchdog import Watchdog
from workers.stream.work import Work

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
        kafka, stream: settings; `stream.guarantee` decides whether there are transactions.
        instance: stable name of this worker; the transactional id is ``{group}-{instance}``, and
            so is the consumer's `group.instance.id`.
        watchdog: guards the calls that wait without a timeout.
    """

    def __init__(
        self, kafka: KafkaSettings, stream: StreamSettings, instance: str, watchdog: Watchdog
    ) -> None:
        self._kafka = kafka
        self._stream = stream
        self._instance = instance
        self._exactly_once = stream.guarantee == "exactly_once"
        self._transactional_id = f"{kafka.group}-{instance}"
        self._watchdog = watchdog
        self._producer: Any = None
        self._outputs: Outputs  # of that producer
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="stream-publish")
        self._last = time.time()  # of the previous commit

    def open(self) -> None:
        """Make the producer and fence an earlier one of the same id. Blocks, at most a minute.

        What the earlier one left open is aborted, or committed if it had got that far.

        Raises:
            KafkaUnreachableError, SettingsError, KafkaError: there is no producer now.
        """
        self._discard()
        self._producer = make_producer(self._kafka, **self._options())
        self._outputs = Outputs(self._kafka, self._limits(self._producer))
        if self._exactly_once:
            self._producer.init_transactions()

    def open_later(self, delay_s: float, own_member: Callable[[], str]) -> Future[None]:
        """`open` on the publishing thread after a pause, unless our place in the group is taken.

        Without that look, two workers of one name would fence each other in turn for a while.
        The future fails with what `open` raises, or with `FencedInstanceIdError`.

        Args:
            own_member: the consumer's member id; empty while it is joining.
        """

        def reopen() -> None:
            time.sleep(delay_s)
            holder = static_member(self._kafka, self._transactional_id)
            if holder and own_member() and holder != own_member():
                raise FencedInstanceIdError(f"{self._transactional_id} is another member")
            self.open()

        return self._thread.submit(reopen)

    def publish(self, taken: Taken, group_metadata: Any) -> Future[None]:
        """Send what `taken` brought and, exactly-once, commit its offsets in one transaction.

        Returns at once. The future fails with `PublishError`.

        Args:
            group_metadata: the consumer's `group_metadata()`, whole: with it the broker refuses
                the offsets of a worker that has lost the partitions (KIP-447).
        """
        return self._thread.submit(self._publish, taken, group_metadata)

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

    def _publish(self, taken: Taken, group_metadata: Any) -> None:
        producer = self._producer
        if producer is None:
            raise PublishError("there is no producer")
        topics, group = self._kafka.topics, self._kafka.group
        try:
            with batch_span("send", topics.transcripts, group, taken.works, SpanKind.PRODUCER):
                if self._exactly_once:
                    producer.begin_transaction()
                self._send(producer, self._messages(taken.works))
            if self._exactly_once:
                with batch_span("commit", topics.manifests, group, taken.works, SpanKind.CLIENT):
                    self._commit(producer, taken, group_metadata)
        except Exception as error:
            self._discard()
            raise PublishError(f"{type(error).__name__}: {error}") from error

    def _limits(self, producer: Any) -> dict[str, int]:
        """Largest message by output topic. Asked for anew after each failed commit: a message
        that is too large for its topic fails every transaction that it is in."""
        topics = self._kafka.topics
        names = (topics.transcripts, topics.metrics, topics.dead_letters)
        allowed = message_limits(self._kafka, names)
        for name, limit in allowed.items():
            if limit < MIN_MESSAGE_BYTES:
                raise SettingsError(
                    f"kafka.topics: a message of topic {name} holds {limit} bytes, and the worker "
                    f"needs {MIN_MESSAGE_BYTES}; raise the topic's max.message.bytes"
                )
        largest = producer.config["max_request_size"]
        return {name: min(largest, allowed.get(name, largest)) for name in names}

    def _messages(self, works: list[Work]) -> list[Message]:
        outputs = self._outputs
        since, self._last = self._last, time.time()
        events = aggregate(self._instance, since, self._last, works)
        return [*map(outputs.result, works), *map(outputs.metrics, events)]

    def _commit(self, producer: Any, taken: Taken, group_metadata: Any) -> None:
        offsets = {tp: OffsetAndMetadata(offset, "", -1) for tp, offset in taken.offsets.items()}
        with self._watchdog.guard("sending offsets to the transaction"):
            producer.send_offsets_to_transaction(offsets, group_metadata)
        with self._watchdog.guard("committing the transaction"):
            producer.commit_transaction()

    def _send(self, producer: Any, messages: list[Message]) -> None:
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
            # close() gives up half-way when it cannot flush, and leaves its thread running
            log.debug("closing the producer: %s", error)
            producer._sender.force_close()
