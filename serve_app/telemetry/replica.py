"""The instruments of a Serve replica.

On a cluster whose nodes serve Ray's metrics, they are Ray's: Prometheus fetches them from each
node. On one that `chorus serve` has started nobody does, and `/metrics` of the API has them instead
(`serve_app.telemetry.shared`).
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

from serve_app.system import ray_adapter
from serve_app.system.ray_environment import collects_metrics
from serve_app.telemetry.definitions import Metric
from serve_app.telemetry.instruments import Instruments, NoInstruments
from serve_app.telemetry.shared import Replica, SharedInstruments
from serve_app.telemetry.tracing import send_spans

#: The environment variable that turns the metrics of replicas off: "off".
_SWITCH = "CHORUS_METRICS"


@cache
def replica_instruments() -> Instruments:
    """The instruments of the replica that this process is; elsewhere, those that do nothing."""
    replica = ray_adapter.own_replica()
    if replica is None or os.environ.get(_SWITCH, "").lower() == "off":
        return NoInstruments()
    if collects_metrics():
        return RayInstruments()
    return SharedInstruments(Path(ray_adapter.metrics_folder()), Replica(*replica))


def trace_replica() -> None:
    """Have the spans of the replica that this process is sent, where a collector is named."""
    replica = ray_adapter.own_replica()
    if replica is not None:
        _, deployment, name = replica
        send_spans(f"chorus-{deployment.lower()}", name)


class RayInstruments:
    """`Instruments` of Ray Serve, which adds the labels of the replica."""

    def __init__(self) -> None:
        self._made = cache(_ray_instrument)
        self._series = cache(self._series_of)

    def add(self, metric: Metric, value: float, *labels: str) -> None:
        """See `Instruments.add`."""
        if value > 0:  # Ray refuses 0
            instrument, tags = self._series(metric, labels)
            instrument.inc(value, tags)

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """See `Instruments.observe`."""
        instrument, tags = self._series(metric, labels)
        instrument.observe(value, tags)

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """See `Instruments.set`."""
        instrument, tags = self._series(metric, labels)
        instrument.set(value, tags)

    def _series_of(self, metric: Metric, labels: tuple[str, ...]) -> tuple[Any, dict[str, str]]:
        return self._made(metric), dict(zip(metric.labels, labels, strict=True))


def _ray_instrument(metric: Metric) -> Any:
    metrics = ray_adapter.serve_metrics
    name = metric.prometheus_name.removesuffix("_total")  # which Ray appends
    if metric.kind == "histogram":
        return metrics.Histogram(name, metric.meaning, list(metric.bounds), metric.labels)
    make = metrics.Counter if metric.kind == "counter" else metrics.Gauge
    return make(name, metric.meaning, metric.labels)
