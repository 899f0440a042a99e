"""What a report says, as values of gauges."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from serve_app.telemetry import definitions as defined
from serve_app.telemetry.definitions import Metric

if TYPE_CHECKING:
    from workers.quality.verdict import Finding, Moved


class Gauge(NamedTuple):
    """A value of a gauge.

    Attributes:
        metric: one of `definitions.QUALITY`.
        labels: in the order of `Metric.labels`.
        value: 0 where it is not known any more.
    """

    metric: Metric
    labels: tuple[str, ...]
    value: float


def gauges(findings: Iterable[Finding], now: float) -> list[Gauge]:
    """The gauges of the latest version of each model in each domain.

    Args:
        findings: of a report; of the versions of a model in a domain, the latest comes last.
        now: Unix time in seconds of the report.
    """
    latest = {(each.model, each.domain): each for each in findings}
    found = [Gauge(defined.QUALITY_LOOKED, (), now)]
    for finding in latest.values():
        found += _of(finding)
    return found


def _of(finding: Finding) -> Iterator[Gauge]:
    from workers.quality.verdict import Status

    name = (finding.model, finding.domain)
    for status in Status:
        yield Gauge(defined.QUALITY_VERDICT, (*name, status.value), float(finding.status is status))
    yield Gauge(defined.QUALITY_RECORDS, name, float(finding.records))
    compared = _with_beginning(finding)
    for measure, level in finding.levels.items():
        moved = compared.get(measure)
        value = level.value if moved is None else moved.after
        yield Gauge(defined.QUALITY_VALUE, (*name, measure), value)
    for measure, moved in compared.items():
        yield Gauge(defined.QUALITY_CHANGE, (*name, measure, "low"), moved.low)
        yield Gauge(defined.QUALITY_CHANGE, (*name, measure, "high"), moved.high)


def _with_beginning(finding: Finding) -> dict[str, Moved]:
    return {
        each.measure: each
        for comparison in finding.comparisons
        if comparison.against is None
        for each in comparison.measures
    }
