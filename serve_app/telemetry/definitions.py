"""The one place where a metric is defined: its name, unit, meaning, labels and bounds.

Instruments, the page docs/metrics.md and whatever queries them follow from it. Names and units are
those of OpenTelemetry; `prometheus_name` is what Prometheus' exporter makes of them.

Labels have few values: models of the settings, error codes, routes. Nothing that a record or a
request brings is one, so nobody makes a million series.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram"]

#: What Prometheus' exporter appends for a unit.
_SUFFIXES = {"s": "_seconds", "By": "_bytes", "1": ""}


class Metric(NamedTuple):
    """A metric.

    Attributes:
        name: of OpenTelemetry.
        kind: what it counts like.
        meaning: a sentence.
        unit: "s", "By", or "1" for a number of things.
        labels: names of its labels.
        bounds: upper bounds of a histogram's buckets, in its unit.
    """

    name: str
    kind: Kind
    meaning: str
    unit: str = "1"
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()

    @property
    def prometheus_name(self) -> str:
        """Its name in Prometheus."""
        total = "_total" if self.kind == "counter" else ""
        return self.name.replace(".", "_") + _SUFFIXES[self.unit] + total


def _stream(name: str, kind: Kind, meaning: str, **more: object) -> Metric:
    return Metric(f"chorus.stream.{name}", kind, meaning, **more)  # type: ignore[arg-type]


RECORDS = _stream("records", "counter", "Records transcribed and committed.", labels=("model",))
DEAD_LETTERS = _stream(
    "dead_letters", "counter", "Records that were committed as dead letters.", labels=("code",)
)
AUDIO = _stream(
    "audio", "counter", "Audio of the transcribed records.", unit="s", labels=("model",)
)
MODEL_TIME = _stream(
    "model_time",
    "counter",
    "Time that models spent on the transcribed records. `audio` over it is RTFx.",
    unit="s",
    labels=("model",),
)
WORD_ERRORS = _stream(
    "word_errors", "counter", "Word errors of records with a reference.", labels=("model",)
)
REFERENCE_WORDS = _stream(
    "reference_words",
    "counter",
    "Words of these references. `word_errors` over it is the WER.",
    labels=("model",),
)
LATENCY = _stream(
    "latency",
    "histogram",
    "From a record's timestamp in Kafka to its result.",
    unit="s",
    bounds=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86400),
)
RETRIES = _stream("retries", "counter", "Records sent to the Router once more.")
COMMITS = _stream("commits", "counter", "Commits.")
RECOVERIES = _stream(
    "recoveries", "counter", "Commits that failed, after each of which the worker went back."
)
LOG_CHANGES = _stream(
    "log_changes", "counter", "Times that the log of a partition was another one than before."
)
LOST = _stream(
    "lost_records", "counter", "Records that the log of a partition lost before they were read."
)
PARTITIONS = _stream("partitions", "gauge", "Partitions that the worker has.")
PAUSED = _stream("partitions_paused", "gauge", "Those that it does not fetch from at the moment.")
PENDING = _stream("pending_records", "gauge", "Records that were read and are not committed.")
PENDING_BYTES = _stream("pending", "gauge", "Bytes of these records' values.", unit="By")
OLDEST = _stream(
    "oldest_pending", "gauge", "Age of the oldest of them, by its timestamp in Kafka.", unit="s"
)
CALLS = _stream("calls", "gauge", "Calls of the Router under way.")
BREAKER = _stream("breaker_open", "gauge", "Whether the circuit breaker keeps from calling: 1.")
HEARTBEAT = _stream("heartbeat_age", "gauge", "Time since the poll loop last turned.", unit="s")
LAG = _stream(
    "lag_records",
    "gauge",
    "Records that wait in all partitions. Only the worker with partition 0 tells it.",
)
LAG_AUDIO = _stream(
    "lag_audio",
    "gauge",
    "Their audio, by the mean of what the worker has transcribed. Told by the same worker.",
    unit="s",
)

#: Of a stream worker, which `stream.status` serves.
STREAM = (
    *(RECORDS, DEAD_LETTERS, AUDIO, MODEL_TIME, WORD_ERRORS, REFERENCE_WORDS, LATENCY),
    *(RETRIES, COMMITS, RECOVERIES, LOG_CHANGES, LOST),
    *(PARTITIONS, PAUSED, PENDING, PENDING_BYTES, OLDEST, CALLS, BREAKER, HEARTBEAT),
    *(LAG, LAG_AUDIO),
)

HTTP_REQUESTS = Metric(
    "chorus.http.requests", "counter", "Requests answered.", labels=("route", "status")
)
HTTP_SECONDS = Metric(
    "chorus.http.request",
    "histogram",
    "Time from a request's headers to the end of its response.",
    unit="s",
    labels=("route",),
    # an hour of audio takes minutes on a CPU
    bounds=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300),
)
HTTP_UNDER_WAY = Metric("chorus.http.requests_under_way", "gauge", "Requests being worked on.")
HTTP_AUDIO = Metric(
    "chorus.http.audio",
    "counter",
    "Audio received, by client.",
    unit="s",
    labels=("client",),
)
WORKER_FAULTS = Metric(
    "chorus.stream.worker_faults", "gauge", "Stream workers beside the models that do not run."
)
MODEL_REFUSALS = Metric(
    "chorus.model.refusals",
    "counter",
    "Versions that an alias named and that could not be served, by the model's replicas.",
    labels=("model",),
)

#: Of a replica of the HTTP API, which `/metrics` serves.
HTTP = (
    HTTP_REQUESTS,
    HTTP_SECONDS,
    HTTP_UNDER_WAY,
    HTTP_AUDIO,
    WORKER_FAULTS,
    MODEL_REFUSALS,
)
