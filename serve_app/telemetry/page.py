"""docs/metrics.md, from the definitions: ``python -m serve_app.telemetry.page``."""

from __future__ import annotations

from collections.abc import Iterable

from serve_app.telemetry.definitions import HTTP, STREAM, Metric

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
of its own. Where the environment has `OTEL_EXPORTER_OTLP_ENDPOINT`, and the package
`opentelemetry-exporter-otlp-proto-http` is installed, it also sends them to a collector, and a
span for each call of the Router and each commit, with links to the traces of the records
(`traceparent` among their headers). OpenTelemetry's own variables say how often, which share of
the traces (`OTEL_TRACES_SAMPLER`), and with which headers.
"""

_HTTP = """\
## HTTP API

`/metrics` of the API. Each replica counts its own requests: with more than one behind the proxy, a
scrape reads a random one of them.
"""


def page() -> str:
    """The text of the page."""
    return "\n".join([_HEAD, _STREAM, _table(STREAM), _HTTP, _table(HTTP)])


def _table(metrics: Iterable[Metric]) -> str:
    rows = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for each in metrics:
        labels = ", ".join(f"`{label}`" for label in each.labels)
        rows.append(f"| `{each.prometheus_name}` | {each.kind} | {labels} | {each.meaning} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(page(), end="")
