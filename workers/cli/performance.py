"""What `chorus status` says of the latest transcripts."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from schemas.settings import Settings
    from workers.quality.recent import Performance

    Look = Callable[[Settings], Performance | str | None]

#: Thousands of messages are read each time.
_EVERY_S = 30.0
_STYLES = {"improving": "green", "stable": "green", "degrading": "red", "no_data": "dim"}


def performance_of(settings: Settings) -> Performance | str | None:
    """How models have done of late: None without transcripts, or why that is not known."""
    try:
        from workers.quality.recent import recent_performance

        return recent_performance(settings.kafka, time.time())
    except ModuleNotFoundError as error:
        return f"{error.name} is not installed"
    except Exception as error:  # Kafka's client has many; none of them hides the rest
        return next(iter(str(error).splitlines()), type(error).__name__)


def seldom(look: Look) -> Look:
    """`look` that is had at most every `_EVERY_S` seconds, and else says what it said before."""
    said: list[tuple[float, Performance | str | None]] = []

    def again(settings: Settings) -> Performance | str | None:
        if not said or time.monotonic() - said[-1][0] > _EVERY_S:
            said[:] = [(time.monotonic(), look(settings))]
        return said[-1][1]

    return again


def performance_parts(found: Performance | str | None) -> list[RenderableType]:
    """The same for people."""
    from rich.table import Table
    from rich.text import Text

    if found is None:
        return []
    if isinstance(found, str):
        return [Text(f"transcripts: {found}", style="dim")]
    table = Table(box=None, pad_edge=False)
    table.add_column("transcripts of")
    for name in ("records", "records/s", "s/record", "errors", "WER %", "mean"):
        table.add_column(name, justify="right")
    table.add_column("trend")
    for model, summary in found.models.items():
        table.add_row(model, *_row(summary))
    begin, end = (datetime.fromtimestamp(each, UTC) for each in (found.since, found.until))
    parts: list[RenderableType] = [table]
    said = f"{begin:%F %T} to {end:%T} UTC"
    if found.unrouted:
        said += f"; {found.unrouted} dead letters reached no model"
    return [*parts, Text(said, style="dim")]


def _row(summary: dict[str, Any]) -> list[RenderableType]:
    from rich.text import Text

    quality = summary.get("quality_metrics", {})
    trend = quality.get("quality_trend", "")
    text = Text(trend.replace("_", " "), _STYLES.get(trend, ""))
    if interval := quality.get("quality_trend_interval"):
        text.append(f" ({interval[0]:+.1f} to {interval[1]:+.1f})")
    return [
        f"{summary['total_samples']:,}",
        _number(summary["samples_per_second"], 1),
        _number(summary["average_processing_time"], 3),
        "" if summary["error_rate"] is None else f"{summary['error_rate']:.1%}",
        _number(quality.get("wer"), 1),
        _number(quality.get("mean_wer"), 1),
        text,
    ]


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
