"""The API's metrics for Prometheus. Each replica counts its own requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

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

#: The library does not annotate it.
_disable_created_metrics: Callable[[], None] = disable_created_metrics

#: Seconds; an hour of audio takes minutes on a CPU.
_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


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
        self.requests = Counter(
            "chorus_http_requests",
            "Requests answered.",
            ["route", "status"],
            registry=self._registry,
        )
        self.seconds = Histogram(
            "chorus_http_request_seconds",
            "Time from a request's headers to the end of its response.",
            ["route"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self.under_way = Gauge(
            "chorus_http_requests_under_way", "Requests being worked on.", registry=self._registry
        )
        self.audio_seconds = Counter(
            "chorus_http_audio_seconds",
            "Seconds of audio received, by client.",
            ["client"],
            registry=self._registry,
        )

        self.worker_faults = Gauge(
            "chorus_stream_worker_faults",
            "Stream workers beside the models that do not run.",
            registry=self._registry,
        )

        self.refusals: Mapping[str, int] = {}
        self._registry.register(self)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """What is counted elsewhere: by the models' replicas."""
        family = CounterMetricFamily(
            "chorus_model_refusals",
            "Versions that an alias named and that could not be served, by the model's replicas.",
            labels=["model"],
        )
        for model, count in self.refusals.items():
            family.add_metric([model], count)
        yield family

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self._registry)
