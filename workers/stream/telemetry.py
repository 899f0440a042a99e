"""The metrics of a stream worker: counted at its commits, and looked at when they are asked for.

They go through OpenTelemetry, so that Prometheus can fetch them and a collector can be sent them,
together with the spans of `workers.stream.tracing`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_client import CollectorRegistry, generate_latest

from schemas.transcript import Transcript
from serve_app.telemetry import definitions as defined
from serve_app.telemetry.definitions import Metric
from workers.stream.metrics_events import latency_ms
from workers.stream.pending_record import PendingRecord

log = logging.getLogger(__name__)

_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


class StreamMetrics:
    """The metrics of one worker.

    Args:
        instance: name of the worker.
        group: its consumer group.
    """

    def __init__(self, instance: str, group: str) -> None:
        self._registry = CollectorRegistry()
        readers: list[MetricReader] = [
            PrometheusMetricReader(
                disable_target_info=True, scope_info_enabled=False, registry=self._registry
            ),
            *_sending(),
        ]
        about = {SERVICE_NAME: "chorus-stream", SERVICE_INSTANCE_ID: f"{group}-{instance}"}
        resource = Resource.create(about)
        self._provider = MeterProvider(readers, resource=resource)
        self._end_spans = send_spans(resource) if collector_named() else lambda: None
        self._meter = self._provider.get_meter("chorus")
        self._counters = {
            metric: self._meter.create_counter(metric.name, metric.unit, metric.meaning)
            for metric in defined.STREAM
            if metric.kind == "counter" and metric not in _LOOKED_AT
        }
        self._latency = self._meter.create_histogram(
            defined.LATENCY.name,
            defined.LATENCY.unit,
            defined.LATENCY.meaning,
            explicit_bucket_boundaries_advisory=list(defined.LATENCY.bounds),
        )

    def look_at(self, metric: Metric, value: Callable[[], float | None]) -> None:
        """Have a metric say what a function does whenever it is asked for.

        Args:
            metric: one of `definitions.STREAM`.
            value: returns at once; None where it is not known.
        """

        def observe(_: CallbackOptions) -> Iterable[Observation]:
            found = value()
            return [] if found is None else [Observation(float(found))]

        make: Any = (
            self._meter.create_observable_counter
            if metric.kind == "counter"
            else self._meter.create_observable_gauge
        )
        make(metric.name, [observe], metric.unit, metric.meaning)

    def count(self, records: Sequence[PendingRecord]) -> None:
        """Count what has been committed."""
        totals: dict[tuple[Metric, str], float] = {}

        def add(metric: Metric, label: str, value: float) -> None:
            totals[metric, label] = totals.get((metric, label), 0.0) + value

        for record in records:
            outcome = record.outcome
            if isinstance(outcome, Transcript):
                model = outcome.selected_model
                add(defined.RECORDS, model, 1)
                add(defined.AUDIO, model, outcome.transcribed_seconds)
                add(defined.MODEL_TIME, model, outcome.timings.model_ms / 1e3)
                if outcome.reference_words is not None:
                    add(defined.WORD_ERRORS, model, outcome.word_errors or 0)
                    add(defined.REFERENCE_WORDS, model, outcome.reference_words)
                if (waited := latency_ms(record)) is not None:
                    self._latency.record(waited / 1e3)
            elif outcome is not None:
                add(defined.DEAD_LETTERS, outcome.code, 1)
        for (metric, label), value in totals.items():
            self._counters[metric].add(value, {metric.labels[0]: label})

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def close(self) -> None:
        """Send what a collector has not got yet; blocks for at most some seconds."""
        self._end_spans()
        self._provider.shutdown(timeout_millis=5_000)


#: Counters that somebody else counts up.
_LOOKED_AT = frozenset(
    {
        defined.RETRIES,
        defined.COMMITS,
        defined.RECOVERIES,
        defined.LOG_CHANGES,
        defined.LOST,
    }
)


def collector_named() -> bool:
    """Whether the environment names a collector to send to."""
    return bool(os.environ.get(_ENDPOINT))


def _sending() -> list[MetricReader]:
    """What sends the metrics to a collector, where the environment names one."""
    if not collector_named():
        return []
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    except ImportError:
        log.warning(
            "the environment names a collector of OpenTelemetry, but the package "
            "opentelemetry-exporter-otlp-proto-http is not installed"
        )
        return []
    return [PeriodicExportingMetricReader(OTLPMetricExporter())]


def send_spans(resource: Resource) -> Callable[[], None]:
    """Have the spans of this process sent to the collector; returns what ends that.

    Where somebody has set a provider, as `opentelemetry-instrument` does, it stays. How many are
    sampled is told by ``OTEL_TRACES_SAMPLER``.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:  # told of the metrics
        return lambda: None
    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return lambda: None
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider.shutdown
