"""Spans of OpenTelemetry: sent where the environment names a collector, and nothing elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable

from opentelemetry import trace

_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_SAMPLER = "OTEL_TRACES_SAMPLER"
#: Share of the traces that begin here, where `OTEL_TRACES_SAMPLER` does not say another one.
DEFAULT_SHARE = 0.01


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
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

    sampler = None if os.environ.get(_SAMPLER) else ParentBasedTraceIdRatio(DEFAULT_SHARE)
    resource = Resource.create({SERVICE_NAME: service, SERVICE_INSTANCE_ID: instance})
    provider = TracerProvider(sampler, resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider.shutdown
