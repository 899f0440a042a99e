"""OpenTelemetry spans by the messaging conventions. Without a configured SDK all are no-ops.

Names and attributes: OpenTelemetry semantic conventions for messaging systems and Kafka. A batch
span does not continue one record's trace; it *links* to the context of each record that has one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import propagate, trace
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from workers.stream.output_messages import TRACE_HEADERS
from workers.stream.pending_record import PendingRecord

log = logging.getLogger(__name__)

_tracer = trace.get_tracer("chorus.stream")
#: What an operation is in the conventions.
_TYPES = {"process": "process", "send": "send", "commit": "settle"}


@contextmanager
def batch_span(
    operation: str, topic: str, group: str, records: Sequence[PendingRecord], kind: SpanKind
) -> Iterator[trace.Span]:
    """A span ``{operation} {topic}`` over a batch, with a link to each record's trace.

    Args:
        operation: "process", "send" or "commit".
        topic: that the records are from, or go to.
        group: the consumer group.
        records: the batch.
        kind: of the span.

    An exception inside is recorded as `error.type` and raised on.
    """
    attributes: dict[str, str | int] = {
        "messaging.system": "kafka",
        "messaging.operation.name": operation,
        "messaging.operation.type": _TYPES[operation],
        "messaging.destination.name": topic,
        "messaging.consumer.group.name": group,
        "messaging.batch.message_count": len(records),
    }
    links = list(_links(records)) if _recording() else []
    with _tracer.start_as_current_span(
        f"{operation} {topic}", kind=kind, attributes=attributes, links=links
    ) as span:
        try:
            yield span
        except BaseException as error:
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(Status(StatusCode.ERROR))
            raise


def _recording() -> bool:
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _links(records: Iterable[PendingRecord]) -> Iterator[Link]:
    for record in records:
        # any producer's headers: what is not text is no trace context, and must not fail the batch
        carrier = {
            key: (value or b"").decode(errors="replace")
            for key, value in record.message.headers or ()
            if key in TRACE_HEADERS
        }
        if "traceparent" not in carrier:
            continue
        try:
            context = trace.get_current_span(propagate.extract(carrier)).get_span_context()
        except Exception as error:  # whatever a producer has sent: it only costs the link
            log.debug("no trace context in %s: %s", record, type(error).__name__)
            continue
        if context.is_valid:
            attributes: dict[str, str | int] = {
                "messaging.destination.partition.id": str(record.partition.partition),
                "messaging.kafka.offset": record.offset,
            }
            yield Link(context, attributes)
