"""The page of a comparison: its parts, rendered and written to a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from serve_app.system.files import atomic_write
from workers.evaluation.comparison.results import Comparison, OverallResult, SetInfo, SetResult
from workers.evaluation.report import text
from workers.evaluation.report.caveats import caveats_of
from workers.evaluation.report.compared import system_columns
from workers.evaluation.report.details import Column, Details, details_of
from workers.evaluation.report.differences import Differences, differences_of
from workers.evaluation.report.keys import Key, Keys, keys_of
from workers.evaluation.report.slices import SliceTable, slice_tables
from workers.evaluation.report.speed import speed_figure
from workers.evaluation.report.thin import MIN_UTTERANCES, MIN_WORDS
from workers.evaluation.report.utterances import WorstUtterance, worst_utterances
from workers.evaluation.report.verdict import Verdict, verdict_of
from workers.evaluation.report.wer_table import Cell, wer_table
from workers.evaluation.statistics.intervals import Difference


@dataclass(frozen=True)
class SetView:
    """The section of one test set, in addition to the tables over all sets."""

    info: SetInfo
    verdict: Verdict
    differences: Differences
    worst: list[tuple[Key, list[WorstUtterance]]]


@dataclass(frozen=True)
class OverallView:
    """The section of all test sets together."""

    verdict: Verdict
    differences: Differences


@dataclass(frozen=True)
class Page:
    """The data of the templates.

    Attributes:
        overall: None where there is one set.
        seconds: of audio, in all.
    """

    comparison: Comparison
    made: str
    keys: list[Key]
    sets: list[SetView]
    overall: OverallView | None
    wer: list[tuple[Key, list[Cell]]]
    speed: Markup | None
    slices: list[SliceTable]
    details: Details
    systems: list[Column]
    caveats: list[str]
    seconds: float
    utterances: int


def write_report(comparison: Comparison, path: str | Path) -> None:
    """Write the page, completely or not at all.

    It holds transcripts of the worst utterances: whoever may not read those may not have it.

    Raises:
        OSError: it cannot be written.
    """
    atomic_write(Path(path), render(comparison))


def render(comparison: Comparison) -> str:
    """The HTML of the page; the same comparison gives the same page."""
    return (
        _environment()
        .get_template("page.html.j2")
        .render(page=_page(comparison), min_words=MIN_WORDS, min_utterances=MIN_UTTERANCES)
    )


@cache
def _environment() -> Environment:
    """The templates, each compiled once."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (text.breakable, text.one_decimal, text.signed, text.between, text.duration)
    environment.filters |= {each.__name__: each for each in filters}
    return environment


def _page(comparison: Comparison) -> Page:
    """The data of the templates for `comparison`."""
    keys = keys_of(comparison)
    by_set = [
        [each for each in comparison.results if each.test_set == info.name]
        for info in comparison.sets
    ]
    overall = comparison.overall
    return Page(
        comparison=comparison,
        made=text.moment(comparison.made),
        keys=list(keys.values()),
        sets=[
            _set_view(keys, info, results, differences.pairs, comparison.normaliser)
            for info, results, differences in zip(
                comparison.sets, by_set, comparison.differences, strict=True
            )
        ],
        overall=_overall_view(keys, overall, comparison.overall_differences) if overall else None,
        wer=wer_table(keys, [*by_set, overall] if overall else by_set),
        speed=speed_figure(keys, overall or by_set[0]),
        slices=slice_tables(keys, comparison),
        details=details_of(keys, comparison),
        systems=system_columns(comparison),
        caveats=caveats_of(comparison),
        seconds=sum(each.seconds for each in comparison.sets),
        utterances=sum(each.utterances for each in comparison.sets),
    )


def _set_view(
    keys: Keys,
    info: SetInfo,
    results: Sequence[SetResult],
    pairs: Sequence[Difference],
    normaliser: str,
) -> SetView:
    return SetView(
        info=info,
        verdict=verdict_of(keys, results, pairs),
        differences=differences_of(keys, pairs, info.drawn, info.blocks),
        worst=worst_utterances(keys, results, normaliser),
    )


def _overall_view(
    keys: Keys, results: Sequence[OverallResult], pairs: Sequence[Difference]
) -> OverallView:
    return OverallView(
        verdict=verdict_of(keys, results, pairs),
        differences=differences_of(keys, pairs, results[0].drawn, results[0].blocks),
    )
