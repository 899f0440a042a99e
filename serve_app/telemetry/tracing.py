"""Spans of OpenTelemetry: sent where the environment names a collector, and nothing elsewhere.

Contexts cross processes as W3C's ``traceparent``, and only those of traces that are sampled: what
is not costs nothing behind the process where it begins.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    TracerProvider,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_SAMPLER = "OTEL_TRACES_SAMPLER"
#: Share of the traces that begin here, where `OTEL_TRACES_SAMPLER` does not say another one.
DEFAULT_SHARE = 0.01

_propagator = TraceContextTextMapPropagator()
TRACEPARENT = "traceparent"


class _Roots:
    """How many of the traces that begin here the SDK's sampler is asked about.

    Most are not to be sampled, and beginning a span to learn that takes twenty times the CPU.
    """

    share = 1.0

    def pass_over(self) -> bool:
        """Whether not to begin the next one."""
        return random.random() >= self.share  # noqa: S311


_roots = _Roots()


def collector_named() -> bool:
    """Whether the environment names a collector to send to."""
    return bool(os.environ.get(_ENDPOINT))


def active() -> bool:
    """Whether anybody takes the spans of this process."""
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def send_spans(service: str, instance: str) -> Callable[[], None]:
    """Have the spans of this process sent to the collector; returns what ends that.

    Where somebody has set a provider, as `opentelemetry-instrument` does, it stays. How many are
    sampled is told by ``OTEL_TRACES_SAMPLER``.

    Args:
        service: kind of the process.
        instance: its name.
    """
    if not collector_named() or active():
        return lambda: None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:  # told of the metrics
        return lambda: None
    from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider as SdkProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    if not os.environ.get(_SAMPLER):
        _roots.share = DEFAULT_SHARE
    resource = Resource.create({SERVICE_NAME: service, SERVICE_INSTANCE_ID: instance})
    provider = SdkProvider(resource=resource)  # it takes all, or what the environment says
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider.shutdown


def begin_span(
    name: str,
    kind: SpanKind,
    parent: Mapping[str, str] | str | None = None,
    attributes: Mapping[str, AttributeValue] | None = None,
    start_ns: int | None = None,
    links: Sequence[Link] = (),
) -> Span:
    """A span that has begun, and is not the current one; an invalid one of a trace passed over.

    Args:
        name: of the operation.
        kind: its role.
        parent: its ``traceparent``, or headers that may have one; None begins a trace.
        attributes: of the span.
        start_ns: when it began, in nanoseconds since 1970; None for now.
        links: to other spans that it belongs to.
    """
    headers = {TRACEPARENT: parent} if isinstance(parent, str) else parent
    context = _propagator.extract(headers, context=Context()) if headers else Context()
    above = trace.get_current_span(context).get_span_context()
    if not above.is_valid and _roots.pass_over():
        return INVALID_SPAN
    tracer = _tracer_of(trace.get_tracer_provider())
    return tracer.start_span(name, context, kind, attributes, links, start_ns)


@lru_cache(maxsize=8)
def _tracer_of(provider: TracerProvider) -> Tracer:
    return provider.get_tracer("chorus")


def traceparent(span: Span) -> str | None:
    """What carries the context of a span on; None where its trace is not sampled."""
    context = span.get_span_context()
    if not context.is_valid or not context.trace_flags.sampled:
        return None
    headers: dict[str, str] = {}
    _propagator.inject(headers, trace.set_span_in_context(span, Context()))
    return headers[TRACEPARENT]


def current_traceparent() -> str | None:
    """`traceparent` of the current span."""
    return traceparent(trace.get_current_span())


def fail(span: Span, reason: str) -> None:
    """Say that the operation of a span failed.

    Args:
        span: not yet ended.
        reason: an error code or a type, nothing of the data.
    """
    span.set_attribute("error.type", reason)
    span.set_status(Status(StatusCode.ERROR))
