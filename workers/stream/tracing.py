"""OpenTelemetry spans by the messaging conventions. Without a configured SDK there are none.

Names and attributes: OpenTelemetry semantic conventions for messaging systems and Kafka. A record
has a span of its own from its delivery to its commit, in the trace of its producer where there is
one. What is done with many at once is a child of the first whose trace is sampled, with links to
the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import INVALID_SPAN, Link, Span, SpanKind
from opentelemetry.util.types import AttributeValue

from schemas.failures import RecordError
from serve_app.telemetry.tracing import active, begin_span, fail, traceparent
from workers.stream.pending_record import PendingRecord

#: What an operation is in the conventions.
_TYPES = {"send": "send", "commit": "settle"}
#: What the context of a producer is in.
_CONTEXT = frozenset({"traceparent", "tracestate"})


def begin(record: PendingRecord, group: str) -> None:
    """Begin the span of a record that has been delivered, if anybody takes spans.

    Args:
        record: the record.
        group: the consumer group.
    """
    if not active():
        return
    topic, partition = record.partition
    # any producer's headers: what is not text is no trace context
    headers = {
        key: (value or b"").decode(errors="replace")
        for key, value in record.message.headers or ()
        if key in _CONTEXT
    }
    about: dict[str, AttributeValue] = {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": topic,
        "messaging.destination.partition.id": str(partition),
        "messaging.kafka.offset": record.offset,
        "messaging.consumer.group.name": group,
    }
    span = begin_span(f"process {topic}", SpanKind.CONSUMER, headers, about)
    if traceparent(span) is not None:
        record.span = span


def traces(records: Sequence[PendingRecord]) -> dict[int, str] | None:
    """``traceparent`` of the records whose traces are sampled, by their places."""
    found = {
        place: traceparent(record.span) or ""
        for place, record in enumerate(records)
        if record.span is not None
    }
    return found or None


@contextmanager
def batch_span(
    operation: str, topic: str, group: str, records: Sequence[PendingRecord], kind: SpanKind
) -> Iterator[Span]:
    """A span ``{operation} {topic}`` over a batch, if any of its traces is sampled.

    Args:
        operation: "send" or "commit".
        topic: that the records are from, or go to.
        group: the consumer group.
        records: the batch.
        kind: of the span.

    An exception inside is recorded as `error.type` and raised on.
    """
    sampled = [record.span for record in records if record.span is not None]
    if not sampled:
        yield INVALID_SPAN
        return
    first, *others = sampled
    about: dict[str, AttributeValue] = {
        "messaging.system": "kafka",
        "messaging.operation.name": operation,
        "messaging.operation.type": _TYPES[operation],
        "messaging.destination.name": topic,
        "messaging.consumer.group.name": group,
        "messaging.batch.message_count": len(records),
    }
    links = [Link(each.get_span_context()) for each in others]
    span = begin_span(f"{operation} {topic}", kind, traceparent(first), about, links=links)
    with trace.use_span(span, end_on_exit=True, record_exception=False):
        try:
            yield span
        except BaseException as error:
            fail(span, type(error).__qualname__)
            raise


def end(records: Sequence[PendingRecord]) -> None:
    """End the spans of records that have been committed."""
    for record in records:
        if record.span is None:
            continue
        if isinstance(record.outcome, RecordError):
            fail(record.span, record.outcome.code.value)
        record.span.end()
