"""OpenTelemetry spans by the messaging conventions. Without a configured SDK all are no-ops.

Names and attributes: OpenTelemetry semantic conventions for messaging systems and Kafka. A batch
span does not continue one record's trace; it *links* to the context of each record that has one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import propagate, trace
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from workers.stream.work import Work

_tracer = trace.get_tracer("chorus.stream")


@contextmanager
def batch_span(
    operation: str, topic: str, group: str, works: Sequence[Work], kind: SpanKind
) -> Iterator[trace.Span]:
    """A span ``{operation} {topic}`` over a batch, with a link to each record's trace.

    An exception inside is recorded as `error.type` and raised on.
    """
    attributes: dict[str, str | int] = {
        "messaging.system": "kafka",
        "messaging.operation.name": operation,
        "messaging.destination.name": topic,
        "messaging.consumer.group.name": group,
        "messaging.batch.message_count": len(works),
    }
    links = list(_links(works)) if _recording() else []
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


def _links(works: Iterable[Work]) -> Iterator[Link]:
    for work in works:
        carrier = {key: (value or b"").decode() for key, value in work.message.headers or ()}
        if "traceparent" not in carrier:
            continue
        context = trace.get_current_span(propagate.extract(carrier)).get_span_context()
        if context.is_valid:
            attributes: dict[str, str | int] = {
                "messaging.destination.partition.id": str(work.partition.partition),
                "messaging.kafka.offset": work.offset,
            }
            yield Link(context, attributes)
