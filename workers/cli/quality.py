"""`chorus quality`: whether models do as well as they did, and whether their audio has changed."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers import exit_codes
from workers.cli.common import (
    DEFAULT_SETTINGS,
    JsonOption,
    OptionalSettings,
    existing_settings,
    fail,
    fault_of,
    print_json,
)

if TYPE_CHECKING:
    from rich.table import Table

    from schemas.settings import Settings
    from workers.quality.observations import Measure
    from workers.quality.verdict import Comparison, Finding, Level, Moved

_AGO = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
#: Measures with a column of their own.
_COLUMNS = ("wer", "confidence", "empty", "words_per_second", "snr_db")
_STYLES = {
    "no data": "dim",
    "stable": "green",
    "better": "green",
    "changed": "yellow",
    "worse": "red",
}

SinceOption = Annotated[
    str | None,
    typer.Option(
        metavar="WHEN",
        help="Only transcripts from here on: a time such as 2026-11-29T08:00, or an age such as "
        "30m, 12h, 7d. The reference period begins here.",
    ),
]


def quality(
    settings_file: OptionalSettings = None,
    files: Annotated[
        list[Path] | None,
        typer.Option("--from", help="A file of `chorus transcribe`, instead of the topic."),
    ] = None,
    since: SinceOption = None,
    until: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Only transcripts before this.")
    ] = None,
    reference: Annotated[
        int, typer.Option(help="The first records of a version, which the others are compared to.")
    ] = 1000,
    error_rate: Annotated[
        float,
        typer.Option(help="Probability of ever reporting a change where there is none."),
    ] = 0.02,
    silent_after: Annotated[
        float,
        typer.Option(metavar="HOURS", help="A model without transcripts for so long: no data."),
    ] = 24.0,
    alert: Annotated[
        bool,
        typer.Option("--alert", help="Write an event to the metrics topic if there is a drift."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Tell of each model, domain and version whether its transcripts got worse, and since when.

    Exit code 0: stable, better, or no data; 10: something is worse or has changed.
    """
    from workers.quality.observations import Observer
    from workers.quality.reading import UnreadableMessageError
    from workers.quality.series import in_series
    from workers.quality.verdict import DRIFT, Rules, judge

    now = time.time()
    begin, end = _time("--since", since, now), _time("--until", until, now)
    if files and (since or until):
        fail(
            "--since and --until go by the times of messages, which files do not have",
            exit_codes.SETTINGS,
        )
    settings = _settings(settings_file, needed=alert or not files)
    try:
        rules = Rules(
            reference=reference,
            error_rate=error_rate,
            silent_s=None if files else 3600 * silent_after,
            now=now if end is None else end,
        )
    except ValueError as error:
        fail(str(error), exit_codes.SETTINGS)
    observer = Observer()
    try:
        read = _read(settings, files or [], begin, end)
        series = in_series(observer.observe(*each) for each in read)
        failures = {} if files or settings is None else _failures(settings, begin, end)
    except UnreadableMessageError as error:
        fail(str(error), exit_codes.FAILURE)
    except OSError as error:
        if isinstance(error, ConnectionError):
            raise
        fail(fault_of(error), exit_codes.SETTINGS)
    findings = judge(series, rules, expected=[] if files or settings is None else settings.models)
    if as_json:
        print_json(_as_json(findings, failures))
    else:
        _show(findings, failures)
    drift = any(each.status in DRIFT for each in findings)
    if alert and drift and settings is not None:
        _publish(settings, findings, now)
    if drift:
        sys.exit(exit_codes.DRIFT)


def _settings(path: Path | None, *, needed: bool) -> Settings | None:
    from schemas.settings import load_settings

    if path is None and not needed:
        return None
    return load_settings(existing_settings(path or DEFAULT_SETTINGS), files=False)


def _time(option: str, text: str | None, now: float) -> float | None:
    """Unix time in seconds."""
    if text is None:
        return None
    try:
        if text[-1:] in _AGO:
            return now - timedelta(**{_AGO[text[-1]]: float(text[:-1])}).total_seconds()
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        fail(
            f"{option} {text}: neither a time such as 2026-11-29T08:00, nor an age such as 30m, "
            "12h or 7d",
            exit_codes.SETTINGS,
        )
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _read(
    settings: Settings | None, files: list[Path], since: float | None, until: float | None
) -> Iterable[Any]:
    from workers.quality.reading import transcripts_of_files, transcripts_of_topic

    if files or settings is None:
        return transcripts_of_files(files)
    return transcripts_of_topic(settings.kafka, since, until)


def _failures(
    settings: Settings, since: float | None, until: float | None
) -> dict[tuple[str, str], tuple[int, int]]:
    """Records and dead letters by model and domain, where there are dead letters."""
    from workers.quality.reading import events_of_topic

    done: Counter[tuple[str, str]] = Counter()
    failed: Counter[tuple[str, str]] = Counter()
    for event in events_of_topic(settings.kafka, since, until):
        done[event.model, event.domain] += event.records
        failed[event.model, event.domain] += event.dead_letters
    return {key: (done[key] + failed[key], failed[key]) for key in sorted(failed) if failed[key]}


def _publish(settings: Settings, findings: list[Finding], now: float) -> None:
    from workers.quality.alerts import alerts, publish

    events = alerts(findings, now)
    publish(settings.kafka, events)
    print(f"{len(events)} alerts written to {settings.kafka.topics.metrics}", file=sys.stderr)


def _as_json(
    findings: list[Finding], failures: dict[tuple[str, str], tuple[int, int]]
) -> dict[str, Any]:
    import msgspec

    return {
        "models": msgspec.to_builtins(findings),
        "dead_letters": [
            {"model": model, "domain": domain, "records": records, "dead_letters": dead}
            for (model, domain), (records, dead) in failures.items()
        ],
    }


def _show(findings: list[Finding], failures: dict[tuple[str, str], tuple[int, int]]) -> None:
    from workers.cli.tables import people_console

    console = people_console()
    if not findings:
        console.print("no data: there are no transcripts")
        return
    console.print(_table(findings))
    for finding in findings:
        for comparison in finding.comparisons:
            for line in _sentences(finding, comparison):
                console.print(line, markup=False)
    for (model, domain), (records, dead) in failures.items():
        name = " · ".join(filter(None, (model or "no model", domain)))
        console.print(f"{name}: {dead} of {records} records became dead letters", markup=False)


def _table(findings: list[Finding]) -> Table:
    from rich.table import Table
    from rich.text import Text

    from workers.quality.observations import MEASURES

    shown = [
        each
        for each in MEASURES
        if each.name in _COLUMNS and any(each.name in finding.levels for finding in findings)
    ]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("model", "domain", "version"):
        table.add_column(name)
    for name in ("records", *(each.name.replace("_", " ") for each in shown)):
        table.add_column(name, justify="right")
    table.add_column("trend")
    for finding in findings:
        trend = f"{finding.status} ({finding.why})" if finding.why else str(finding.status)
        table.add_row(
            finding.model,
            finding.domain,
            finding.version,
            f"{finding.records:,}",
            *(_level(each, finding.levels.get(each.name)) for each in shown),
            Text(trend, _STYLES[finding.status]),
        )
    return table


def _level(measure: Measure, level: Level | None) -> str:
    if level is None:
        return ""
    text = _number(measure, level.value)
    if level.low is None or level.high is None:
        return text
    low = max(0.0, level.low) if measure.unit == "%" else level.low
    return f"{text} ({_number(measure, low)} to {_number(measure, level.high)})"


def _number(measure: Measure, value: float, *, signed: bool = False) -> str:
    scaled = 100 * value if measure.unit == "%" else value
    digits = 3 if measure.name == "confidence" else 0 if measure.unit == "Hz" else 1
    return f"{scaled:{'+' if signed else ''}.{digits}f}" + ("%" if measure.unit == "%" else "")


def _sentences(finding: Finding, comparison: Comparison) -> list[str]:
    """What has changed; and of what has not, how sure that is of the WER or the confidence."""
    from workers.quality.observations import MEASURES

    name = " · ".join(filter(None, (finding.model, finding.domain, finding.version)))
    compared = (
        "its beginning"
        if comparison.against is None
        else (f"version {comparison.against or '(none)'}")
    )
    measures = {each.name: each for each in MEASURES}
    changed = [each for each in comparison.measures if each.at is not None]
    if not changed:
        main = comparison.measures[0]
        text = _change(measures[main.measure], main)
        return [f"{name}: no change against {compared} is certain; {text}"]
    how = "not as" if comparison.status == "changed" else f"{comparison.status} than"
    why = _CAUSES[comparison.cause or ""]
    if comparison.cause != "audio" and not any(
        measures[each.measure].kind == "audio" and each.measure != "seconds"
        for each in comparison.measures
    ):
        why = "its audio was not measured"
    lines = [f"{name}: {how} {compared}: {why}"]
    return [*lines, *(f"  {_change(measures[each.measure], each)}" for each in changed)]


_CAUSES = {
    "": "",
    "model": "no measure of the audio changed with it",
    "audio": "the audio changed",
    "version": "it came with this version, and no measure of the audio changed",
}


def _change(measure: Measure, moved: Moved) -> str:
    text = (
        f"{measure.name}: {_number(measure, moved.before)} before, "
        f"{_number(measure, moved.after)} after, a difference of "
        f"{_number(measure, moved.low, signed=True)} to {_number(measure, moved.high, signed=True)}"
    )
    if moved.at is None:
        return text
    when = "" if moved.since is None else f", {datetime.fromtimestamp(moved.since, UTC):%F %T} UTC"
    return f"{text}; since record {moved.at + 1:,}{when} (certain {moved.certain_after} later)"
