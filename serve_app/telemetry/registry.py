"""Instruments of a process that shows its metrics itself, in Prometheus' text format."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from serve_app.telemetry.definitions import Metric

_Key = tuple[Metric, tuple[str, ...]]


class RegistryInstruments(Collector):
    """`Instruments` that are a collector of Prometheus' library.

    Its own instruments take five times the CPU, which is a lot for some of every record.

    Args:
        labels: of every metric, in addition to its own.
    """

    def __init__(self, labels: Mapping[str, str] | None = None) -> None:
        self._labels = dict(labels or {})
        self._values: dict[_Key, float] = {}
        self._buckets: dict[_Key, list[int]] = {}  # the last one is above all bounds
        self._lock = threading.Lock()

    def add(self, metric: Metric, value: float, *labels: str) -> None:
        """See `Instruments.add`."""
        key = metric, labels
        with self._lock:
            self._values[key] = self._values.get(key, 0.0) + value

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """See `Instruments.observe`."""
        key = metric, labels
        with self._lock:
            buckets = self._buckets.get(key)
            if buckets is None:
                buckets = self._buckets[key] = [0] * (len(metric.bounds) + 1)
            buckets[bisect_left(metric.bounds, value)] += 1
            self._values[key] = self._values.get(key, 0.0) + value

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """See `Instruments.set`."""
        with self._lock:
            self._values[metric, labels] = value

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Family]:
        """Each metric that says anything."""
        with self._lock:
            values = dict(self._values)
            buckets = {key: list(counts) for key, counts in self._buckets.items()}
        families: dict[Metric, Family] = {}
        for (metric, own), value in values.items():
            family = families.setdefault(metric, self._family(metric))
            labels = [*self._labels.values(), *own]
            if isinstance(family, HistogramMetricFamily):
                counts = accumulate(buckets[metric, own])
                bounds = [*map(str, map(float, metric.bounds)), "+Inf"]
                family.add_metric(labels, list(zip(bounds, counts, strict=True)), value)
            elif isinstance(family, CounterMetricFamily | GaugeMetricFamily):
                family.add_metric(labels, value)
        yield from families.values()

    def _family(self, metric: Metric) -> Family:
        labels = [*self._labels, *metric.labels]
        if metric.kind == "histogram":
            return HistogramMetricFamily(metric.prometheus_name, metric.meaning, labels=labels)
        make = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
        return make(metric.prometheus_name, metric.meaning, labels=labels)
