"""Metrics of a process of its own: by OpenTelemetry, for Prometheus and for a collector."""

from __future__ import annotations

import logging
import threading
from functools import partial
from typing import Any

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, generate_latest

from serve_app.telemetry.definitions import Metric
from serve_app.telemetry.tracing import collector_named

log = logging.getLogger(__name__)

_CLOSE_MS = 5_000


class OtelInstruments:
    """`Instruments` of OpenTelemetry.

    Args:
        resource: the process.
    """

    def __init__(self, resource: Resource) -> None:
        self._registry = CollectorRegistry()
        reader = partial(PrometheusMetricReader, registry=self._registry)
        readers = [reader(disable_target_info=True, scope_info_enabled=False), *_sending()]
        self._provider = MeterProvider(readers, resource=resource)
        self._meter = self._provider.get_meter("chorus")
        self._made: dict[Metric, Any] = {}
        self._making = threading.Lock()

    def add(self, metric: Metric, value: float, *labels: str) -> None:
        """See `Instruments.add`."""
        self._of(metric).add(value, dict(zip(metric.labels, labels, strict=True)))

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """See `Instruments.observe`."""
        self._of(metric).record(value, dict(zip(metric.labels, labels, strict=True)))

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """See `Instruments.set`."""
        self._of(metric).set(value, dict(zip(metric.labels, labels, strict=True)))

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def close(self) -> None:
        """Send what a collector has not got yet; blocks for at most some seconds."""
        self._provider.shutdown(timeout_millis=_CLOSE_MS)

    def _of(self, metric: Metric) -> Any:
        if metric not in self._made:
            with self._making:
                self._made.setdefault(metric, self._make(metric))
        return self._made[metric]

    def _make(self, metric: Metric) -> Any:
        about = metric.name, metric.unit, metric.meaning
        if metric.kind == "histogram":
            bounds = list(metric.bounds)
            return self._meter.create_histogram(*about, explicit_bucket_boundaries_advisory=bounds)
        if metric.kind == "counter":
            return self._meter.create_counter(*about)
        return self._meter.create_gauge(*about)


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
