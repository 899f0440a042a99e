"""Whose lag grows, and what do the workers do?"""

from __future__ import annotations

from deploy.observability.panels import Dashboard, Panel, Query, Row
from deploy.observability.queries import (
    highest,
    increase,
    quantile,
    rate,
    recorded,
    series,
    share,
    summed,
)
from serve_app.telemetry import definitions as defined

_WORKER = ("job", "instance")
_NAME = "{{job}} {{instance}}"

#: On the overview, too.
DEAD_LETTERS = Panel(
    "Dead letters, by code",
    "Records at fault themselves. `chorus dead-letters list` names them.",
    (Query(rate(defined.DEAD_LETTERS, "code"), "{{code}}", silent="Every record is sound."),),
    unit="cps",
    kind="stack",
    page="stream.md#failure-handling",
)

_LAG = Row(
    "What waits",
    (
        Panel(
            "Lag in records",
            "Records that wait in all partitions.",
            (Query(highest(defined.LAG, "job"), "{{job}}"),),
            width=6,
            page="scaling.md#stream-workers",
        ),
        Panel(
            "Lag in audio",
            "Their audio, by the mean of what has been transcribed.",
            (Query(highest(defined.LAG_AUDIO, "job"), "{{job}}"),),
            unit="s",
            width=6,
            page="scaling.md#stream-workers",
        ),
        Panel(
            "Time to work it off",
            "What waits over what is done in a second. Falling: they catch up.",
            (
                Query(
                    recorded("job:chorus_stream_catch_up:seconds", "job"),
                    "{{job}}",
                    silent="Nothing is transcribed, so there is no rate.",
                ),
            ),
            unit="s",
            width=6,
            limits=((3600, "red"),),
            page="scaling.md#stream-workers",
        ),
        Panel(
            "Oldest record that is not committed",
            "By its timestamp in Kafka. While workers catch up it is as old as the lag; else it "
            "grows where one record is tried again and again.",
            (Query(highest(defined.OLDEST, *_WORKER), _NAME),),
            unit="s",
            width=6,
            page="runbook.md#the-stream",
        ),
    ),
)

_DONE = Row(
    "What is done",
    (
        Panel(
            "Records, by model",
            "Records that were transcribed and committed.",
            (Query(rate(defined.RECORDS, "model"), "{{model}}"),),
            unit="cps",
            kind="stack",
        ),
        Panel(
            "Audio, by model",
            "Seconds of audio that were transcribed and committed in a second.",
            (Query(rate(defined.AUDIO, "model"), "{{model}}"),),
            unit="suffix:×",
            kind="stack",
        ),
        Panel(
            "RTFx, by model",
            "Seconds of audio for a second of the models' time, by the transcripts.",
            (
                Query(
                    share(rate(defined.AUDIO, "model"), rate(defined.MODEL_TIME, "model")),
                    "{{model}}",
                ),
            ),
            unit="suffix:×",
            page="runbook.md#a-model-is-slow",
        ),
        Panel(
            "From Kafka to the result",
            "By job. It includes the time that a record waits in Kafka.",
            (
                Query(quantile(0.5, defined.LATENCY, "job"), "{{job}} 50%"),
                Query(quantile(0.95, defined.LATENCY, "job"), "{{job}} 95%"),
                Query(quantile(0.99, defined.LATENCY, "job"), "{{job}} 99%"),
            ),
            unit="s",
            limits=((600, "red"),),
            page="scaling.md#stream-workers",
        ),
        DEAD_LETTERS,
        Panel(
            "Commits",
            "Each is a transaction with transcripts, metrics, dead letters and offsets.",
            (Query(rate(defined.COMMITS, *_WORKER), _NAME),),
            unit="cps",
        ),
    ),
)

_WORKERS = Row(
    "Each worker",
    (
        Panel(
            "Partitions",
            "That a worker has, and those that it does not fetch from at the moment because "
            "enough is in hand, or the breaker is open.",
            (
                Query(summed(defined.PARTITIONS, *_WORKER), _NAME),
                Query(summed(defined.PAUSED, *_WORKER), f"{_NAME} paused"),
            ),
            width=6,
            page="scaling.md#stream-workers",
        ),
        Panel(
            "Records in hand",
            "Read and not committed; `stream.max_pending_records` is the most.",
            (Query(summed(defined.PENDING, *_WORKER), _NAME),),
            width=6,
        ),
        Panel(
            "Bytes in hand",
            "Of these records' values.",
            (Query(summed(defined.PENDING_BYTES, *_WORKER), _NAME),),
            unit="bytes",
            width=6,
        ),
        Panel(
            "Calls under way",
            "Of the Router.",
            (Query(summed(defined.CALLS, *_WORKER), _NAME),),
            width=6,
        ),
        Panel(
            "Breaker open",
            "A worker has stopped calling, because no model answers.",
            (Query(highest(defined.BREAKER, *_WORKER), _NAME),),
            kind="states",
            limits=((1, "red"),),
            page="runbook.md#the-stream",
        ),
        Panel(
            "Time since the poll loop turned",
            "Above a minute a worker hangs: start it again.",
            (Query(highest(defined.HEARTBEAT, *_WORKER), _NAME),),
            unit="s",
            limits=((60, "red"),),
            page="stream.md#probes-and-metrics",
        ),
        Panel(
            "Retries",
            "Records sent to the Router once more.",
            (Query(rate(defined.RETRIES, *_WORKER), _NAME),),
            unit="cps",
            page="stream.md#failure-handling",
        ),
    ),
)

_FAULTS = Row(
    "What should not be",
    (
        Panel(
            "Commits that failed",
            "After each the worker goes back and transcribes anew; the log says why.",
            (Query(increase(defined.RECOVERIES, *_WORKER), _NAME),),
            limits=((3, "red"),),
            page="runbook.md#the-stream",
        ),
        Panel(
            "Records lost from the log",
            "Deleted from Kafka before they were read: its retention is too short.",
            (Query(f"sum by (job) ({series(defined.LOST)})", "{{job}}"),),
            limits=((1, "red"),),
            page="runbook.md#stepping-over-going-back",
        ),
        Panel(
            "Another log than before",
            "Times that a partition was made again, or lost what had been committed.",
            (Query(f"sum by (job) ({series(defined.LOG_CHANGES)})", "{{job}}"),),
            limits=((1, "red"),),
            page="stream.md#when-the-log-itself-changes",
        ),
    ),
)

DASHBOARD = Dashboard(
    uid="chorus-stream",
    title="Chorus: stream",
    means="Whose lag grows, and what do the workers do?",
    rows=(_LAG, _DONE, _WORKERS, _FAULTS),
)
