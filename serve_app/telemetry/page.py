"""docs/metrics.md, from the definitions: ``python -m serve_app.telemetry.page``."""

from __future__ import annotations

from collections.abc import Iterable

from serve_app.telemetry.definitions import HTTP, MODEL, QUALITY, ROLLOUT, ROUTER, STREAM, Metric

_HEAD = """\
# Metrics

Written by `python -m serve_app.telemetry.page` from `serve_app/telemetry/definitions.py`; do not
edit it. Names are those of Prometheus; those of OpenTelemetry have dots, and neither a unit nor
`total`. What to alert on is in [operations.md](operations.md).

A worker counts from its start, and counts what it has *committed*: what it transcribed and did not
commit, because it ended, is counted by the worker that does it again. A worker that is killed
between a commit and the next scrape takes its last counts with it, so sums over time are a little
low. The events of the metrics topic ([stream.md](stream.md)) are exact: they are part of the
transactions.
"""

_STREAM = """\
## Stream workers

With `stream.status`, a worker of `chorus stream` serves `/metrics`, `/live` and `/ready` on a port
of its own. Where the environment has `OTEL_EXPORTER_OTLP_ENDPOINT`, it also sends them to a
collector, beside its [spans](tracing.md). Workers inside Serve tell theirs as models do, below.
"""

_QUALITY = """\
### Quality over time

With [`stream.quality`](quality.md#while-the-stream-runs), the worker with partition 0 shows what it
finds. Models are those of the settings, domains those that the settings name, or `other`. What is
not known any more becomes 0, as when another worker looks: values count where there are records.
"""

_SERVE = """\
## Models, Router, HTTP API, rollouts

Each replica measures itself; its metrics carry the labels `application`, `deployment` and
`replica`.

- On a cluster that `chorus serve` starts, `/metrics` of the API has those of all replicas,
  whichever of them answers. They are at most two seconds old, and what a replica counted is told
  for five minutes after its end. Without `http` in the settings nobody tells them.
- On any other cluster they are Ray's: where `RAY_enable_metrics_collection=1` is set for its
  nodes, each of them serves them at its metrics port, and Ray puts `ray_` before the names, which
  [prometheus.yaml](../deploy/observability/prometheus.yaml) takes off again. Ray keeps no sums of
  histograms, so that their `_sum` follows from the middles of the buckets. `/metrics` of the API
  then says where they are.

`CHORUS_METRICS=off` in the environment of the nodes turns these off.

All of it costs 0.04 CPU-ms a record: 0.013 in the Router, 0.002 in a model and 0.020 in a stream
worker that sends its metrics and one in a hundred traces to a collector (`make bench-telemetry`,
`functions_cpu_ms`). Whole streams with all of it and without differ by less than two without any
do, 0.3 and 0.4 CPU-ms of 20 a record.

Labels have few values: names of the settings, error codes, routes, versions.
"""


def page() -> str:
    """The text of the page."""
    parts = [_HEAD, _STREAM, _table(STREAM), _QUALITY, _table(QUALITY), _SERVE]
    parts += ["### Models\n", _table(MODEL), "### Router\n", _table(ROUTER)]
    parts += ["### HTTP API\n", _table(HTTP), "### Rollouts under way\n", _table(ROLLOUT)]
    return "\n".join(parts)


def _table(metrics: Iterable[Metric]) -> str:
    rows = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for each in metrics:
        labels = ", ".join(f"`{label}`" for label in each.labels)
        rows.append(f"| `{each.prometheus_name}` | {each.kind} | {labels} | {each.meaning} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(page(), end="")
