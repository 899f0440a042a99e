"""Queries in PromQL, by the definitions of the metrics and the dashboards' variables."""

from __future__ import annotations

import re
from typing import Any

import yaml

from deploy.observability.files import RULES
from serve_app.telemetry.definitions import QUALITY, STREAM, Metric

#: The window of rates: Grafana chooses it by the time that is shown, never below four scrapes.
_WINDOW = "$__rate_interval"

#: Alerts that fire.
FIRING = 'ALERTS{alertname=~"Chorus.+", alertstate="firing"}'
#: What is asked of Ray's own metrics. They are there where the nodes collect them.
RAY = {
    "replicas": "ray_serve_deployment_replica_healthy",
    "replica_starts": "ray_serve_deployment_replica_starts_total",
    "disk": "ray_node_disk_utilization_percentage",
    "cpu": "ray_node_cpu_utilization",
    "memory_used": "ray_node_mem_used",
    "memory": "ray_node_mem_total",
    "gpu": "ray_node_gpus_utilization",
}


def _recorded() -> frozenset[str]:
    groups: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"]
    return frozenset(
        rule["record"] for group in groups for rule in group["rules"] if "record" in rule
    )


#: Names of the recording rules.
RECORDED = _recorded()


def series(metric: Metric, *where: str, part: str = "") -> str:
    """What the variables of a dashboard select of a metric.

    Args:
        metric: its definition.
        where: more matchers.
        part: of a histogram, "bucket", "count" or "sum".
    """
    by = ["job" if metric in (*STREAM, *QUALITY) else "application"]
    by += ["model"] if "model" in metric.labels else []
    matchers = [*(f'{label}=~"${label}"' for label in by), *where]
    name = f"{metric.prometheus_name}_{part}" if part else metric.prometheus_name
    return f"{name}{{{', '.join(matchers)}}}"


def rate(metric: Metric, *by: str, where: tuple[str, ...] = (), part: str = "") -> str:
    """By how much a counter grows in a second, summed up by labels.

    Args:
        metric: its definition.
        by: labels that are kept.
        where: more matchers.
        part: of a histogram, "count" or "sum".
    """
    return f"sum{_by(by)}(rate({series(metric, *where, part=part)}[{_WINDOW}]))"


def increase(metric: Metric, *by: str) -> str:
    """By how much a counter has grown in the window, summed up by labels; see `rate`."""
    return f"sum{_by(by)}(increase({series(metric)}[{_WINDOW}]))"


def quantile(share: float, metric: Metric, *by: str) -> str:
    """A quantile of a histogram.

    Args:
        share: 0.5 for the median.
        metric: its definition.
        by: labels that are kept.
    """
    buckets = f"sum{_by((*by, 'le'))}(rate({series(metric, part='bucket')}[{_WINDOW}]))"
    return f"histogram_quantile({share}, {buckets})"


def share(part: str, whole: str) -> str:
    """One rate over another; nothing where the other is 0."""
    return f"{part} / ({whole} > 0)"


def summed(metric: Metric, *by: str) -> str:
    """A gauge, summed up by labels."""
    return f"sum{_by(by)}({series(metric)})"


def highest(metric: Metric, *by: str) -> str:
    """The highest value of a gauge, by labels."""
    return f"max{_by(by)}({series(metric)})"


def recorded(name: str, *variables: str) -> str:
    """What a recording rule has found.

    Args:
        name: of the rule.
        variables: labels by which the dashboard's variables select.

    Raises:
        ValueError: there is no such rule.
    """
    if name not in RECORDED:
        raise ValueError(f"{RULES.name} has no recording rule {name}")
    matchers = ", ".join(f'{label}=~"${label}"' for label in variables)
    return f"{name}{{{matchers}}}" if matchers else name


def _by(labels: tuple[str, ...]) -> str:
    return f" by ({', '.join(labels)}) " if labels else " "


def filled(expression: str, window: str) -> str:
    """A query as Grafana sends it where every value of every variable is chosen.

    Args:
        expression: with variables.
        window: of rates, such as "5m".
    """
    return re.sub(r"\$\w+", ".*", expression.replace(_WINDOW, window))
