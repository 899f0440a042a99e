"""What the API counts, for Prometheus. One replica counts its own requests."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

#: Seconds; audio of an hour takes minutes on a CPU.
_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """The API's metrics, in a registry of their own."""

    def __init__(self) -> None:
        disable_created_metrics()  # a second time series for each, which nobody asks for
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "chorus_http_requests",
            "Requests answered.",
            ["route", "status"],
            registry=self._registry,
        )
        self.seconds = Histogram(
            "chorus_http_request_seconds",
            "From a request's headers to the end of its answer.",
            ["route"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self.under_way = Gauge(
            "chorus_http_requests_under_way", "Requests now.", registry=self._registry
        )
        self.audio_seconds = Counter(
            "chorus_http_audio_seconds",
            "Seconds of audio taken in, by client.",
            ["client"],
            registry=self._registry,
        )

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)
