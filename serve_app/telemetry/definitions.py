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

    def __hash__(self) -> int:
        """Of the name alone: metrics are keys wherever anything is counted."""
        return hash(self.name)

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

_TIMES = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1)


def _model(name: str, kind: Kind, meaning: str, **more: object) -> Metric:
    labels = ("model", *more.pop("labels", ()))  # type: ignore[misc]
    return Metric(f"chorus.model.{name}", kind, meaning, labels=labels, **more)  # type: ignore[arg-type]


MODEL_CLIPS = _model(
    "clips",
    "counter",
    "Clips that came out of the engine, by outcome: `text`, or the error code.",
    labels=("outcome",),
)
MODEL_AUDIO = _model("audio", "counter", "Audio of these clips.", unit="s")
MODEL_BUSY = _model(
    "busy",
    "counter",
    "Time that the engine worked. `audio` over it is RTFx; its rate, the share of the time.",
    unit="s",
)
MODEL_PADDING = _model(
    "padding",
    "counter",
    "Silence that fills the clips of a batch up to the longest. Over it and `audio` together, the "
    "padding share.",
    unit="s",
)
MODEL_BATCH_FILL = _model(
    "batch_fill",
    "histogram",
    "Audio and padding of a batch over `batch_seconds`.",
    bounds=_SHARES,
)
MODEL_BATCH = _model(
    "batch", "histogram", "Time of the engine on a batch.", unit="s", bounds=_TIMES
)
MODEL_QUEUE_TIME = _model(
    "queue_time",
    "histogram",
    "Longest wait of a clip of a batch, from its arrival at the replica.",
    unit="s",
    bounds=_TIMES,
)
MODEL_WAITING = _model("waiting", "gauge", "Clips that wait in the queue of a replica.")
MODEL_CONFIDENCE = _model(
    "confidence", "histogram", "Confidences as the engine gives them.", bounds=_SHARES
)
MODEL_VERSION = _model(
    "version",
    "gauge",
    "1 for what a replica serves: its version, and the first digits of its file's SHA-256.",
    labels=("version", "sha256"),
)
MODEL_SWAPS = _model("swaps", "counter", "Changes to another version, without a restart.")
MODEL_REFUSALS = _model(
    "refusals", "counter", "Versions that an alias named and that could not be served."
)
MODEL_MEMORY = _model(
    "gpu_memory", "gauge", "Memory of the GPU that the replica holds. Not on a CPU.", unit="By"
)

#: Of a replica of a model.
MODEL = (
    *(MODEL_CLIPS, MODEL_AUDIO, MODEL_BUSY, MODEL_PADDING, MODEL_BATCH_FILL, MODEL_BATCH),
    *(MODEL_QUEUE_TIME, MODEL_WAITING, MODEL_CONFIDENCE, MODEL_VERSION, MODEL_SWAPS),
    *(MODEL_REFUSALS, MODEL_MEMORY),
)


def _router(name: str, kind: Kind, meaning: str, **more: object) -> Metric:
    return Metric(f"chorus.router.{name}", kind, meaning, **more)  # type: ignore[arg-type]


ROUTES = _router(
    "routes",
    "counter",
    "Records by the rule that chose, and the plan or model that it chose.",
    labels=("rule", "target"),
)
ROUTER_AUDIO = _router("audio", "counter", "Audio of the records that were transcribed.", unit="s")
ROUTER_FAILURES = _router(
    "failures",
    "counter",
    "Records without a transcript, by class and code. A stream tries some of them again.",
    labels=("class", "code"),
)
FALLBACKS = _router(
    "fallbacks",
    "counter",
    "Records whose plan had no text, so that its fallback was asked.",
    labels=("plan",),
)
MEMBERS_FAILED = _router(
    "member_failures",
    "counter",
    "Models that gave no answer for a record that was transcribed all the same.",
    labels=("model", "code"),
)
MEMBER_TEXTS = _router(
    "member_texts",
    "counter",
    "Texts of an ensemble's members; `same` says whether one is the text that was taken, word for "
    "word.",
    labels=("model", "same"),
)
STAGE = _router(
    "stage",
    "histogram",
    "Time of a record by stage: `audio` is reading and measuring, `queue` the wait for a model, "
    "`model` its share of the batches, `total` from the list's arrival to the result.",
    unit="s",
    labels=("stage",),
    bounds=_TIMES,
)
CONFIDENCE = _router(
    "confidence",
    "histogram",
    "Confidences of transcripts, calibrated where the settings name a calibration.",
    labels=("model",),
    bounds=_SHARES,
)
EMPTY_TEXTS = _router("empty_texts", "counter", "Transcripts without a word.", labels=("model",))
ARMS = _router(
    "arms",
    "counter",
    "Records of models with a rollout under way, by the version that was asked.",
    labels=("model", "arm"),
)
SNR = _router(
    "snr_db",
    "histogram",
    "`audio.snr_db` of the records.",
    bounds=(5, 10, 15, 20, 25, 30, 40, 50, 60),
)
BANDWIDTH = _router(
    "bandwidth_hz",
    "histogram",
    "`audio.bandwidth_hz` of the records.",
    bounds=(1000, 2000, 3000, 3600, 4000, 5000, 6000, 7000, 8000),
)
DURATION = _router(
    "duration",
    "histogram",
    "`audio.seconds` of the records.",
    unit="s",
    bounds=(0.5, 1, 2, 5, 10, 15, 20, 30, 60, 300, 1800, 7200),
)
CLIPPED = _router("clipped", "counter", "Records with more than 0.1% of their samples clipped.")
AUDIO_HELD = _router("audio_held", "gauge", "Decoded audio that the Router holds.", unit="By")
ROUTER_CALLS = _router("lists", "gauge", "Lists of records that the Router is working on.")

#: Of a replica of the Router.
ROUTER = (
    *(ROUTES, ROUTER_AUDIO, ROUTER_FAILURES, FALLBACKS, MEMBERS_FAILED, MEMBER_TEXTS, STAGE),
    *(CONFIDENCE, EMPTY_TEXTS, ARMS, SNR, BANDWIDTH, DURATION, CLIPPED),
    *(AUDIO_HELD, ROUTER_CALLS),
)


def _rollout(name: str, meaning: str, **more: object) -> Metric:
    labels = ("model", *more.pop("labels", ()))  # type: ignore[misc]
    return Metric(f"chorus.rollout.{name}", "gauge", meaning, labels=labels, **more)  # type: ignore[arg-type]


ROLLOUT_STATE = _rollout(
    "verdict",
    "1 for what the evidence says now: `hold`, `promote`, `roll_back`, `inconclusive`.",
    labels=("verdict",),
)
ROLLOUT_RECORDS = _rollout("records", "Records that were observed.")
ROLLOUT_CHANGE = _rollout(
    "wer_change",
    "The candidate's WER less the incumbent's in points of percent: bounds of the interval that is "
    "right at every look. None without references.",
    labels=("bound",),
)
ROLLOUT_DIFFERING = _rollout("differing", "Words by which the two texts differ, in percent.")
ROLLOUT_FAILING = _rollout("failing", "Clips without an answer, in percent.", labels=("version",))

#: Of the judge of a rollout, while it is under way.
ROLLOUT = (*(ROLLOUT_STATE, ROLLOUT_RECORDS, ROLLOUT_CHANGE, ROLLOUT_DIFFERING, ROLLOUT_FAILING),)


def _quality(name: str, meaning: str, *labels: str, **more: object) -> Metric:
    return Metric(f"chorus.quality.{name}", "gauge", meaning, labels=labels, **more)  # type: ignore[arg-type]


QUALITY_VERDICT = _quality(
    "verdict",
    "1 for what is said of the latest version of a model in a domain: `worse`, `changed`, "
    "`better`, `stable`, or `no data`.",
    *("model", "domain", "verdict"),
)
QUALITY_RECORDS = _quality("records", "Transcripts that this is said of.", "model", "domain")
QUALITY_VALUE = _quality(
    "value",
    "A measure of these transcripts (docs/quality.md), such as `wer` as a part of the words: of "
    "those after the reference, or since it changed.",
    *("model", "domain", "measure"),
)
QUALITY_CHANGE = _quality(
    "change",
    "By how much it differs from what it was before: the bounds, `low` and `high`, of the interval "
    "that is right at every look.",
    *("model", "domain", "measure", "bound"),
)
QUALITY_LOOKED = _quality("looked_at", "Unix time of the last look.", unit="s")

#: Of the stream worker that judges transcripts (`stream.quality`).
QUALITY = (QUALITY_VERDICT, QUALITY_RECORDS, QUALITY_VALUE, QUALITY_CHANGE, QUALITY_LOOKED)

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

#: Of a replica of the HTTP API.
HTTP = (HTTP_REQUESTS, HTTP_SECONDS, HTTP_UNDER_WAY, HTTP_AUDIO, WORKER_FAULTS)

#: Every metric.
ALL = (*STREAM, *QUALITY, *MODEL, *ROUTER, *ROLLOUT, *HTTP)
