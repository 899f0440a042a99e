"""Tables of the WER by the values of a field, pooled over the sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from markupsafe import Markup

from serve_app.scoring.wer import ErrorCounts
from workers.evaluation.comparison.results import Comparison
from workers.evaluation.report.charts.slices import Series, category_chart, ordered_chart
from workers.evaluation.report.duration import duration_figure
from workers.evaluation.report.keys import Keys
from workers.evaluation.report.thin import is_thin
from workers.evaluation.statistics.scores import Score
from workers.evaluation.statistics.slices import by_duration, by_snr
from workers.manifests.speech import SPEAKER_KEYS

#: Fields with more values than this are shown as a table alone.
MAX_CHART_VALUES = 10
#: Values that hold the sets in shares that differ by this much are not comparable at sight.
MIXED_SHARE = 0.25

#: The slices by a quantity: their values upwards, and what they are called.
_ORDERED = {
    "duration": ([each.value for each in by_duration([])], "duration"),
    "snr": ([each.value for each in by_snr([])], "signal-to-noise ratio"),
}


@dataclass(frozen=True)
class SliceRow:
    """A part of a set, or of several: its name, and WERs in the order of the systems."""

    value: str
    utterances: int
    words: int
    wers: list[float | None]
    by_set: list[SliceRow]

    @property
    def thin(self) -> bool:
        """Whether the slice has too little speech for a reliable WER."""
        return is_thin(self.words, self.utterances)


@dataclass(frozen=True)
class SliceTable:
    """All the values of a field, pooled over `sets`.

    Attributes:
        id: unique on the page.
        ordered: whether it is a quantity, with its values upwards.
        mixed: the values hold the sets in different shares: what looks like an effect of the field
            can be one of the sets.
        chart: where it can be seen as one.
        remark: what there is to say on the chart.
    """

    id: str
    title: str
    ordered: bool
    sets: list[str]
    rows: list[SliceRow]
    mixed: bool
    chart: Markup | None
    remark: str


def slice_tables(keys: Keys, comparison: Comparison) -> list[SliceTable]:
    """A table for each field: quantities first, then the keys of the manifests."""
    fields = dict.fromkeys(part.field for each in comparison.results for part in each.slices)
    order = sorted(fields, key=lambda name: [*_ORDERED, name].index(name))
    tables = [_table(keys, comparison, f"slice-{n}", name) for n, name in enumerate(order)]
    return [each for each in tables if each.rows]


def _table(keys: Keys, comparison: Comparison, identity: str, field: str) -> SliceTable:
    order, title = _ORDERED.get(field, (None, field))
    parts = _scores_by_value(comparison, field)
    rows = _in_order([_pooled_row(keys, value, sets) for value, sets in parts.items()], order)
    chart, remark = _drawn(keys, comparison, identity, field, rows)
    return SliceTable(
        id=identity,
        title=title,
        ordered=order is not None,
        sets=list(dict.fromkeys(each.value for row in rows for each in row.by_set)),
        rows=rows,
        mixed=_mixed([row for row in rows if not row.thin]),
        chart=chart,
        remark=remark,
    )


def _drawn(
    keys: Keys, comparison: Comparison, identity: str, field: str, rows: Sequence[SliceRow]
) -> tuple[Markup | None, str]:
    """The chart, if there is one, and a remark on it."""
    if field == "duration" and (curves := duration_figure(keys, comparison, identity)):
        return curves, "Each point has the utterances of similar duration, at their median."
    solid = [row for row in rows if not row.thin]
    if field in SPEAKER_KEYS or not 2 <= len(solid) <= MAX_CHART_VALUES:
        return None, ""
    thin = ", ".join(row.value for row in rows if row.thin)
    return _chart(keys, identity, rows, field), thin and f"Too thin for the chart: {thin}."


def _scores_by_value(comparison: Comparison, field: str) -> dict[str, dict[str, dict[str, Score]]]:
    """The scores of a field by its value, then by set, then by system."""
    found: dict[str, dict[str, dict[str, Score]]] = {}
    for result in comparison.results:
        for each in result.slices:
            if each.field == field and each.score.utterances:
                of_value = found.setdefault(each.value, {})
                of_value.setdefault(result.test_set, {})[result.system] = each.score
    return found


def _pooled_row(keys: Keys, value: str, sets: Mapping[str, Mapping[str, Score]]) -> SliceRow:
    by_set = [
        _row(keys, name, {system: [score] for system, score in of_system.items()})
        for name, of_system in sets.items()
    ]
    scores: dict[str, list[Score]] = {}
    for of_system in sets.values():
        for system, score in of_system.items():
            scores.setdefault(system, []).append(score)
    return replace(_row(keys, value, scores), by_set=by_set)


def _row(keys: Keys, value: str, scores: Mapping[str, Sequence[Score]]) -> SliceRow:
    words = {
        system: sum((each.words for each in some), start=ErrorCounts())
        for system, some in scores.items()
    }
    return SliceRow(
        value=value,
        utterances=max(sum(each.utterances for each in some) for some in scores.values()),
        words=max(each.reference for each in words.values()),
        wers=[words[name].percent if name in words else None for name in keys],
        by_set=[],
    )


def _mixed(rows: Sequence[SliceRow]) -> bool:
    """Whether the rows take their words from different sets, so that they are not comparable."""
    shares = [{each.value: each.words / row.words for each in row.by_set} for row in rows]
    return any(
        sum(abs(a.get(name, 0.0) - b.get(name, 0.0)) for name in a.keys() | b.keys()) / 2
        >= MIXED_SHARE
        for a, b in combinations(shares, 2)
    )


def _chart(keys: Keys, identity: str, rows: Sequence[SliceRow], field: str) -> Markup:
    solid = {row.value: row for row in rows if not row.thin}
    values = list(solid)
    if field in _ORDERED:  # also those between them, so that ranges far apart do not seem to adjoin
        ranges, _ = _ORDERED[field]
        places = [ranges.index(value) for value in values]
        values = ranges[min(places) : max(places) + 1]
    series = [
        Series(key.number, [solid[v].wers[key.number] if v in solid else None for v in values])
        for key in keys.values()
    ]
    counts = {row.value: row.utterances for row in rows}
    draw = ordered_chart if field in _ORDERED else category_chart
    return Markup(draw(identity, values, [counts.get(v, 0) for v in values], series))


def _in_order(rows: list[SliceRow], order: Sequence[str] | None) -> list[SliceRow]:
    """The rows as `order` has them; else ascending where numeric; else the largest first."""
    if order is not None:
        return sorted(rows, key=lambda row: order.index(row.value) if row.value in order else -1)
    try:
        return sorted(rows, key=lambda row: float(row.value))
    except ValueError:
        return sorted(rows, key=lambda row: (-row.utterances, row.value))
