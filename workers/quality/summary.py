"""How a model has done, in the keys of `get_performance_summary` of NeMo Curator's tutorial."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from schemas.metrics import MetricsEvent
from workers.quality.observations import Observer
from workers.quality.reading import TimedTranscript
from workers.quality.series import Series
from workers.quality.verdict import Finding, Moved, Rules, Status, judge

#: The tutorial's `quality_trend` is "stable" whatever happens; here it is the verdict on the WER.
_WORDS = {
    Status.STABLE: "stable",
    Status.BETTER: "improving",
    Status.WORSE: "degrading",
}


def performance_summary(
    transcripts: Iterable[TimedTranscript],
    events: Iterable[MetricsEvent] = (),
    rules: Rules | None = None,
) -> dict[str, Any]:
    """The summary of the transcripts of one model, as JSON values.

    Args:
        transcripts: in the order of time, or each with its time. All count as one version's.
        events: the metrics events of the same time and model; without any, `error_rate` is None.
        rules: of the trend; those of `chorus quality` if none are given.

    Returns:
        ``{"status": "no_data"}`` without transcripts. Else `total_samples`;
        `average_processing_time`, seconds of the model per record; `samples_per_second`, over the
        time from the first message to the last, None where messages have none; `error_rate`, the
        share of records that became dead letters; and, where there are references,
        `quality_metrics`: `mean_wer`, the mean of the records' WERs in percent; `wer`, pooled;
        `quality_trend`, "stable", "improving", "degrading" or "no_data"; and
        `quality_trend_interval`, of the change of the pooled WER since the reference in points of
        percent, right at every look; None without data.
    """
    observer = Observer()
    series = Series("", "", "")
    model_ms, rates = 0.0, []
    for transcript, time in transcripts:
        series.add(observer.observe(transcript, time))
        model_ms += transcript.timings.model_ms
        if transcript.wer is not None:
            rates.append(transcript.wer)
    if not series.records:
        return {"status": "no_data"}
    summary: dict[str, Any] = {
        "total_samples": series.records,
        "average_processing_time": model_ms / 1e3 / series.records,
        "error_rate": _error_rate(events),
        "samples_per_second": _per_second(series),
    }
    (finding,) = judge([series], rules or Rules())
    if rates and "wer" in finding.levels:
        summary["quality_metrics"] = {
            "mean_wer": sum(rates) / len(rates),
            "wer": 100 * finding.levels["wer"].value,
            **_trend(finding),
        }
    return summary


def _error_rate(events: Iterable[MetricsEvent]) -> float | None:
    done = failed = 0
    for event in events:
        done += event.records
        failed += event.dead_letters
    return failed / (done + failed) if done + failed else None


def _per_second(series: Series) -> float | None:
    if series.first is None or series.last is None or series.last <= series.first:
        return None
    return (series.records - 1) / (series.last - series.first)


def _trend(finding: Finding) -> dict[str, Any]:
    moved = _wer(finding)
    if moved is None or finding.status is Status.NO_DATA:
        return {"quality_trend": "no_data", "quality_trend_interval": None}
    return {
        "quality_trend": _WORDS[moved.status],
        "quality_trend_interval": [100 * moved.low, 100 * moved.high],
    }


def _wer(finding: Finding) -> Moved | None:
    measures = (each for comparison in finding.comparisons for each in comparison.measures)
    return next((each for each in measures if each.measure == "wer"), None)
