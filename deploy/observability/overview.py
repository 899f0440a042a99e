"""Is anything wrong, and where?"""

from __future__ import annotations

from deploy.observability.panels import Dashboard, Panel, Query, Row
from deploy.observability.queries import (
    FIRING,
    RAY,
    highest,
    quantile,
    rate,
    recorded,
    share,
    summed,
)
from deploy.observability.stream import DEAD_LETTERS
from serve_app.telemetry import definitions as defined

_WELL = "No alert fires."
_NODES = "Only nodes with RAY_enable_metrics_collection=1 have Ray's own metrics."
_FAILS = rate(defined.HTTP_REQUESTS, where=('status=~"5.."',))

_NOW = Row(
    "Now",
    (
        Panel(
            "Alerts",
            "Alerts of Chorus that fire. The table below names them.",
            (Query(f"count({FIRING}) or vector(0)"),),
            kind="stat",
            width=3,
            limits=((1, "red"),),
            page="operations.md#what-to-alert-on",
        ),
        Panel(
            "Records per second",
            "Records that stream workers have transcribed and committed.",
            (Query(rate(defined.RECORDS)),),
            kind="stat",
            width=3,
        ),
        Panel(
            "Speed, all models",
            "Seconds of audio that are transcribed in a second, over HTTP and from Kafka.",
            (Query(rate(defined.ROUTER_AUDIO)),),
            unit="suffix:×",
            kind="stat",
            width=3,
        ),
        Panel(
            "Waiting records",
            "Records in Kafka that no worker has committed yet.",
            (Query(f"sum({highest(defined.LAG, 'job')})"),),
            kind="stat",
            width=3,
        ),
        Panel(
            "Time to work it off",
            "What waits over what is done in a second. Above an hour there is too little of "
            "something: workers, replicas, machines.",
            (
                Query(
                    f"max({recorded('job:chorus_stream_catch_up:seconds', 'job')})",
                    silent="Nothing is transcribed, so there is no rate.",
                ),
            ),
            unit="dtdurations",
            kind="stat",
            width=3,
            limits=((600, "yellow"), (3600, "red")),
            page="scaling.md",
        ),
        Panel(
            "Dead letters, an hour",
            "Share of the records that became dead letters in the last hour.",
            (Query(f"max({recorded('job:chorus_stream_dead_letters:ratio1h', 'job')})"),),
            unit="percentunit",
            kind="stat",
            width=3,
            limits=((0.001, "yellow"), (0.01, "red")),
            page="runbook.md#the-stream",
        ),
        Panel(
            "HTTP failures",
            "Share of the requests that were answered with a 5xx status.",
            (
                Query(
                    share(f"({_FAILS} or vector(0))", rate(defined.HTTP_REQUESTS)),
                    silent="Nobody calls the API.",
                ),
            ),
            unit="percentunit",
            kind="stat",
            width=3,
            limits=((0.001, "yellow"), (0.01, "red")),
            page="http.md#keys-and-limits",
        ),
        Panel(
            "Breakers open",
            "Stream workers that have stopped calling because no model answers.",
            (Query(summed(defined.BREAKER)),),
            kind="stat",
            width=3,
            limits=((1, "red"),),
            page="runbook.md#the-stream",
        ),
    ),
)

_RATES = Row(
    "What is done, and what waits",
    (
        Panel(
            "Records",
            "What becomes of the records of the stream.",
            (
                Query(rate(defined.RECORDS), "transcribed"),
                Query(rate(defined.DEAD_LETTERS), "dead letters"),
                Query(rate(defined.RETRIES), "tried once more"),
            ),
            unit="cps",
        ),
        Panel(
            "Routes",
            "Records by the plan or model that the rules chose, over HTTP and from Kafka.",
            (Query(rate(defined.ROUTES, "rule", "target"), "{{target}} ({{rule}})"),),
            unit="cps",
            kind="stack",
            page="routing.md#rules",
        ),
        Panel(
            "Lag",
            "Records that wait in Kafka, by the workers of a job. It grows where more comes "
            "than is transcribed.",
            (Query(highest(defined.LAG, "job"), "{{job}}"),),
            page="scaling.md",
        ),
        Panel(
            "From Kafka to the result",
            "From a record's timestamp in Kafka to its result.",
            tuple(
                Query(quantile(part, defined.LATENCY), f"{part:.0%}") for part in (0.5, 0.95, 0.99)
            ),
            unit="s",
            limits=((600, "red"),),
            page="scaling.md",
        ),
        Panel(
            "Requests over HTTP",
            "By route and status. 429 and 503 say that there is more than the limits allow.",
            (Query(rate(defined.HTTP_REQUESTS, "route", "status"), "{{route}} {{status}}"),),
            unit="reqps",
            kind="stack",
            page="http.md#keys-and-limits",
        ),
        Panel(
            "Time of requests, 95%",
            "From a request's headers to the end of its response. Long recordings take long.",
            (Query(quantile(0.95, defined.HTTP_SECONDS, "route"), "{{route}}"),),
            unit="s",
            page="http.md#keys-and-limits",
        ),
        Panel(
            "Requests under way",
            "Requests that the API is working on. At `http.max_requests` others are refused.",
            (Query(summed(defined.HTTP_UNDER_WAY, "application"), "{{application}}"),),
            page="http.md#keys-and-limits",
        ),
        Panel(
            "Audio over HTTP, by client",
            "Seconds of audio that clients send in a second.",
            (Query(rate(defined.HTTP_AUDIO, "client"), "{{client}}"),),
            unit="suffix:×",
            kind="stack",
        ),
        Panel(
            "Stream workers that do not run",
            "Workers inside Serve that have ended; `chorus status` says why.",
            (Query(highest(defined.WORKER_FAULTS, "application"), "{{application}}"),),
            limits=((1, "red"),),
            page="stream.md#exit-codes",
        ),
    ),
)

_FAILURES = Row(
    "What fails",
    (
        Panel(
            "Alerts that fire",
            "Each with its labels; the runbook says what to do.",
            (Query(FIRING, silent=_WELL),),
            kind="table",
            page="runbook.md",
        ),
        DEAD_LETTERS,
        Panel(
            "Records without a transcript, by class and code",
            "What the Router answers with an error. A stream tries `transient` ones again, so "
            "that here is more than among the dead letters.",
            (
                Query(
                    rate(defined.ROUTER_FAILURES, "class", "code"),
                    "{{code}} ({{class}})",
                    silent="Every record is sound.",
                ),
            ),
            unit="cps",
            kind="stack",
            page="stream.md#failure-handling",
        ),
    ),
)

_MACHINES = Row(
    "Machines",
    (
        Panel(
            "Replicas that are well",
            "Replicas of Serve by deployment. Fewer than the settings say: they cannot start.",
            (
                Query(
                    f'sum by (deployment) ({RAY["replicas"]}{{application=~"$application"}})',
                    "{{deployment}}",
                    silent=_NODES,
                ),
                Query(
                    f"sum by (deployment) (increase({RAY['replica_starts']}"
                    '{application=~"$application"}[15m]))',
                    "{{deployment}}: starts in 15 min",
                    silent=_NODES,
                ),
            ),
            page="runbook.md#memory-runs-out",
        ),
        Panel(
            "Processor, memory, GPU",
            "How much of a node is in use.",
            (
                Query(f"avg by (instance) ({RAY['cpu']}) / 100", "CPU {{instance}}", silent=_NODES),
                Query(
                    f"max by (instance) ({RAY['memory_used']} / {RAY['memory']})",
                    "memory {{instance}}",
                    silent=_NODES,
                ),
                Query(f"avg by (instance) ({RAY['gpu']}) / 100", "GPU {{instance}}", silent=_NODES),
            ),
            unit="percentunit",
            limits=((0.9, "red"),),
            page="runbook.md#memory-runs-out",
        ),
        Panel(
            "Disk",
            "How full the disk of a node is.",
            (Query(f"max by (instance) ({RAY['disk']})", "{{instance}}", silent=_NODES),),
            unit="percent",
            limits=((85, "red"),),
            page="runbook.md#the-disk-of-the-models-machine-is-full",
        ),
    ),
)

DASHBOARD = Dashboard(
    uid="chorus-overview",
    title="Chorus: overview",
    means="Is anything wrong, and where?",
    rows=(_NOW, _RATES, _FAILURES, _MACHINES),
)
