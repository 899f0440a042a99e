"""Which model is slow, and why?"""

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

_ALL_WELL = "Every clip has a text."
_BY = "model"
_CLIPS = rate(defined.MODEL_CLIPS, _BY)
_WITHOUT_TEXT = rate(defined.MODEL_CLIPS, _BY, "outcome", where=('outcome!="text"',))
_AUDIO = rate(defined.MODEL_AUDIO, _BY)
# Ray has no series of a counter that has counted nothing yet
_PADDING = f"({rate(defined.MODEL_PADDING, _BY)} or 0 * {_AUDIO})"

_SPEED = Row(
    "What is slow",
    (
        Panel(
            "Speed while it works (RTFx)",
            "Seconds of audio that a model transcribes in a second of its engine, by ten minutes. "
            "Half of the day before: the machine is shared, hot or another one, or the version "
            "is slower.",
            (
                Query(
                    f"avg by (model) ({recorded('model:chorus_model_rtfx:rate10m', 'model')})",
                    "{{model}}",
                ),
            ),
            unit="suffix:×",
            page="runbook.md#a-model-is-slow",
        ),
        Panel(
            "Share of the time that it works",
            "Of the busiest replica of a model. Near 100% for long: it needs more replicas.",
            (
                Query(
                    f"max by (model) (rate({series(defined.MODEL_BUSY)}[$__rate_interval]))",
                    "{{model}}",
                ),
            ),
            unit="percentunit",
            limits=((0.9, "yellow"),),
            page="scaling.md#models",
        ),
        Panel(
            "Wait for a model, 95%",
            "Longest wait of a clip of a batch in the queue of its replica.",
            (
                Query(
                    f"max by (model) ({recorded('model:chorus_model_queue_p95:rate10m', 'model')})",
                    "{{model}}",
                ),
            ),
            unit="s",
            limits=((30, "red"),),
            page="runbook.md#clips-wait-for-a-model",
        ),
        Panel(
            "Clips that wait",
            "In the queues of all replicas of a model, and in the longest.",
            (
                Query(summed(defined.MODEL_WAITING, _BY), "{{model}}"),
                Query(highest(defined.MODEL_WAITING, _BY), "{{model}}: one replica"),
            ),
            page="runbook.md#clips-wait-for-a-model",
        ),
        Panel(
            "Time of a batch",
            "Time of the engine on a batch: the median, and that of one in twenty.",
            (
                Query(quantile(0.5, defined.MODEL_BATCH, _BY), "{{model}} 50%"),
                Query(quantile(0.95, defined.MODEL_BATCH, _BY), "{{model}} 95%"),
            ),
            unit="s",
        ),
        Panel(
            "Where a record's time goes, 95%",
            "By stage: reading and measuring audio, the wait for a model, its share of the "
            "batches, all together.",
            (Query(quantile(0.95, defined.STAGE, "stage"), "{{stage}}"),),
            unit="s",
            page="scaling.md",
        ),
    ),
)

_BATCHES = Row(
    "What they do",
    (
        Panel(
            "Audio",
            "Seconds of audio that a model transcribes in a second, by all of its replicas.",
            (Query(_AUDIO, "{{model}}"),),
            unit="suffix:×",
            kind="stack",
        ),
        Panel(
            "Clips",
            "Clips that come out of the engine, whatever becomes of them.",
            (Query(_CLIPS, "{{model}}"),),
            unit="cps",
            kind="stack",
        ),
        Panel(
            "Fill of a batch, median",
            "Of `batch_seconds`. Low: little is asked, or clips are few and short. At 100%, a "
            "larger `batch_seconds` may be faster on a GPU.",
            (Query(quantile(0.5, defined.MODEL_BATCH_FILL, _BY), "{{model}}"),),
            unit="percentunit",
            page="settings.md",
        ),
        Panel(
            "Padding",
            "Share of the engine's work that is silence behind the shorter clips of a batch.",
            (Query(share(_PADDING, f"({_PADDING} + {_AUDIO})"), "{{model}}"),),
            unit="percentunit",
            limits=((0.5, "yellow"),),
        ),
        Panel(
            "Lists that the Router works on",
            "Of all replicas of the Router. Each holds the decoded audio of its records.",
            (Query(summed(defined.ROUTER_CALLS, "application"), "{{application}}"),),
        ),
        Panel(
            "Decoded audio that the Router holds",
            "Of all replicas of the Router.",
            (Query(summed(defined.AUDIO_HELD, "application"), "{{application}}"),),
            unit="bytes",
            page="runbook.md#memory-runs-out",
        ),
    ),
)

_FAILURES = Row(
    "What fails",
    (
        Panel(
            "Clips without a text",
            "Share of a model's clips, by error code.",
            (
                Query(
                    f"{_WITHOUT_TEXT} / on (model) group_left () ({_CLIPS} > 0)",
                    "{{model}} {{outcome}}",
                    silent=_ALL_WELL,
                ),
            ),
            unit="percentunit",
            limits=((0.01, "yellow"),),
            page="stream.md#failure-handling",
        ),
        Panel(
            "Fallbacks",
            "Share of a plan's records that had no text, so that its fallback was asked.",
            (
                Query(
                    recorded("plan:chorus_router_fallbacks:ratio15m"),
                    "{{plan}}",
                    silent="No plan has asked its fallback.",
                ),
            ),
            unit="percentunit",
            limits=((0.05, "red"),),
            page="runbook.md#fallbacks-answer",
        ),
        Panel(
            "Members without an answer",
            "Models of an ensemble that gave none, for records that others transcribed.",
            (
                Query(
                    rate(defined.MEMBERS_FAILED, _BY, "code"),
                    "{{model}} {{code}}",
                    silent="Every member answers.",
                ),
            ),
            unit="cps",
            page="routing.md#plans",
        ),
    ),
)

_VERSIONS = Row(
    "What is served",
    (
        Panel(
            "Replicas",
            "How many replicas serve which version and file, now.",
            (
                Query(
                    f"count by (model, version, sha256) ({series(defined.MODEL_VERSION)} == 1)",
                    "replicas",
                ),
            ),
            kind="table",
            page="models.md#serving-what-an-alias-names",
        ),
        Panel(
            "Changes of version",
            "Replicas that went over to another version, and versions that they refused.",
            (
                Query(
                    increase(defined.MODEL_SWAPS, _BY),
                    "{{model}} changed",
                    silent="No version has changed.",
                ),
                Query(
                    increase(defined.MODEL_REFUSALS, _BY),
                    "{{model}} refused",
                    silent="No version was refused.",
                ),
            ),
            page="runbook.md#the-stream",
        ),
        Panel(
            "Memory of the GPU",
            "That a model's replicas hold; the largest.",
            (
                Query(
                    highest(defined.MODEL_MEMORY, _BY), "{{model}}", silent="There is no GPU here."
                ),
            ),
            unit="bytes",
            page="operations.md#sizing",
        ),
    ),
)

DASHBOARD = Dashboard(
    uid="chorus-models",
    title="Chorus: models",
    means="Which model is slow, which fails, and why?",
    rows=(_SPEED, _BATCHES, _FAILURES, _VERSIONS),
)
