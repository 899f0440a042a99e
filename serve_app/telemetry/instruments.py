"""What counts and measures, wherever the figures go then."""

from __future__ import annotations

from typing import Protocol

from serve_app.telemetry.definitions import Metric


class Instruments(Protocol):
    """The instruments of one process. Safe to share between threads; nothing here waits.

    Labels are given in the order of `Metric.labels`.
    """

    def add(self, metric: Metric, value: float, *labels: str) -> None:
        """Count a counter up.

        Args:
            metric: the counter.
            value: by how much, not below 0.
            labels: values of its labels.
        """
        ...

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """Put a value into a histogram; see `add`."""
        ...

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """Set a gauge; see `add`."""
        ...


class NoInstruments:
    """`Instruments` of a process whose figures nobody reads."""

    def add(self, metric: Metric, value: float, *labels: str) -> None:
        """See `Instruments.add`."""

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """See `Instruments.observe`."""

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """See `Instruments.set`."""
