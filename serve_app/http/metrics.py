"""The API's metrics for Prometheus. Each replica counts its own requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from serve_app.telemetry import definitions as defined

#: The library does not annotate it.
_disable_created_metrics: Callable[[], None] = disable_created_metrics

Instrument = TypeVar("Instrument", Counter, Gauge, Histogram)


class Metrics(Collector):
    """The API's metrics, in a registry of their own.

    Attributes:
        requests: counter of answered requests, by route and status.
        seconds: histogram of the time from a request's headers to the end of its response, by
            route.
        under_way: gauge of the requests that are being worked on.
        audio_seconds: counter of the seconds of audio received, by client.
        worker_faults: gauge of the stream workers beside the models that do not run.
        refusals: by model, the versions that an alias named and that could not be served.
    """

    def __init__(self) -> None:
        _disable_created_metrics()  # they would double the number of time series
        self._registry = CollectorRegistry()
        self.requests = self._made(Counter, defined.HTTP_REQUESTS)
        self.seconds = self._made(
            Histogram, defined.HTTP_SECONDS, buckets=defined.HTTP_SECONDS.bounds
        )
        self.under_way = self._made(Gauge, defined.HTTP_UNDER_WAY)
        self.audio_seconds = self._made(Counter, defined.HTTP_AUDIO)
        self.worker_faults = self._made(Gauge, defined.WORKER_FAULTS)
        self.refusals: Mapping[str, int] = {}
        self._registry.register(self)

    def _made(self, kind: type[Instrument], metric: defined.Metric, **options: Any) -> Instrument:
        """An instrument for a metric; the library appends `total` itself."""
        name = metric.prometheus_name
        return kind(name, metric.meaning, metric.labels, registry=self._registry, **options)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """What is counted elsewhere: by the models' replicas."""
        metric = defined.MODEL_REFUSALS
        family = CounterMetricFamily(
            metric.prometheus_name, metric.meaning, labels=list(metric.labels)
        )
        for model, count in self.refusals.items():
            family.add_metric([model], count)
        yield family

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self._registry)
