"""Instruments of Prometheus' library."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from serve_app.telemetry.definitions import Metric

#: The library does not annotate it.
_disable_created_metrics: Callable[[], None] = disable_created_metrics


class RegistryInstruments:
    """`Instruments` with a registry of their own.

    Args:
        labels: of every metric, in addition to its own.

    Attributes:
        registry: of Prometheus' library.
    """

    def __init__(self, labels: Mapping[str, str] | None = None) -> None:
        _disable_created_metrics()  # they would double the number of time series
        self.registry = CollectorRegistry()
        self._labels = dict(labels or {})
        self._families: dict[Metric, Any] = {}
        self._series: dict[tuple[Metric, tuple[str, ...]], Any] = {}
        self._making = threading.Lock()

    def add(self, metric: Metric, value: float, *labels: str) -> None:
        """See `Instruments.add`."""
        self._of(metric, labels).inc(value)

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """See `Instruments.observe`."""
        self._of(metric, labels).observe(value)

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """See `Instruments.set`."""
        self._of(metric, labels).set(value)

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _of(self, metric: Metric, labels: tuple[str, ...]) -> Any:
        """What counts one series of a metric."""
        found = self._series.get((metric, labels))
        if found is None:
            with self._making:
                if metric not in self._families:
                    self._families[metric] = self._family(metric)
                family, values = self._families[metric], (*self._labels.values(), *labels)
                found = family.labels(*values) if values else family
                self._series[metric, labels] = found
        return found

    def _family(self, metric: Metric) -> Any:
        name = metric.prometheus_name.removesuffix("_total")  # which the library appends
        labels = (*self._labels, *metric.labels)
        if metric.kind == "histogram":
            return Histogram(
                name, metric.meaning, labels, registry=self.registry, buckets=metric.bounds
            )
        make = Counter if metric.kind == "counter" else Gauge
        return make(name, metric.meaning, labels, registry=self.registry)
