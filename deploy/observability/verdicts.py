"""What `stream.quality` says of the models while the stream runs."""

from __future__ import annotations

from deploy.observability.panels import Panel, Query, Row
from deploy.observability.queries import highest, series
from serve_app.telemetry import definitions as defined
from serve_app.telemetry.definitions import Metric

_OFF = "The settings have no `stream.quality`."
_FEW = "Nothing is said before there are 1,100 records, and of the WER without references."
_NAME = ("model", "domain")

_NOT_WELL = series(defined.QUALITY_VERDICT, 'verdict=~"worse|changed|no data"')


def _of(metric: Metric, measure: str, *by: str) -> str:
    where = f'measure="{measure}"'
    return f"max by ({', '.join((*_NAME, *by))}) ({series(metric, where)})"


def _interval(title: str, measure: str, means: str) -> Panel:
    return Panel(
        title,
        means,
        (
            Query(
                _of(defined.QUALITY_CHANGE, measure, "bound"),
                "{{model}} {{domain}} {{bound}}",
                silent=_FEW,
            ),
        ),
        unit="percentunit",
        least=None,
        page="quality.md#what-the-verdicts-mean",
    )


ROW = Row(
    "Verdicts of the stream",
    (
        Panel(
            "Verdict on each model",
            "Of its latest version, by domain. `worse` and `changed` are alerts, whose events "
            "on the metrics topic say which measure changed, since when, and with what.",
            (
                Query(
                    f"max by ({', '.join(_NAME)}, verdict) ({_NOT_WELL})",
                    "{{model}} {{domain}} {{verdict}}",
                    silent=_OFF,
                ),
            ),
            kind="states",
            limits=((1, "orange"),),
            page="runbook.md#a-model-gets-worse",
        ),
        _interval(
            "WER less that of the reference",
            "wer",
            "Bounds of an interval that is right at every look. All of it above 0: worse.",
        ),
        _interval(
            "Confidence less that of the reference",
            "confidence",
            "Bounds of an interval that is right at every look. All of it below 0: worse, or "
            "other audio.",
        ),
        Panel(
            "WER since the reference",
            "Or since it changed.",
            (Query(_of(defined.QUALITY_VALUE, "wer"), "{{model}} {{domain}}", silent=_FEW),),
            unit="percentunit",
            page="quality.md#what-is-measured",
        ),
        Panel(
            "Transcripts judged",
            "The more, the narrower the intervals.",
            (
                Query(
                    highest(defined.QUALITY_RECORDS, *_NAME),
                    "{{model}} {{domain}}",
                    silent=_OFF,
                ),
            ),
            page="quality.md#how-sure-it-is",
        ),
        Panel(
            "Since the last look",
            "About `stream.quality.every_s` at most. Where it grows, the log of the worker with "
            "partition 0 says why nobody looks.",
            (Query(f"time() - {highest(defined.QUALITY_LOOKED, 'job')}", "{{job}}", silent=_OFF),),
            unit="s",
            page="quality.md#while-the-stream-runs",
        ),
    ),
)
