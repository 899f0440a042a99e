"""A comparison as one HTML file that needs nothing else: verdict, tables, charts, worst utterances.

This module decides what is said, `report.html.j2` how it looks. Names and texts come from manifests
and models; only the figures of `charts` go into the page unescaped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import combinations
from math import sqrt
from pathlib import Path

import jiwer
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from serve_app.wer import ErrorCounts, normalise
from workers.evaluation.charts import (
    Point,
    Series,
    category_chart,
    colour,
    marker_path,
    ordered_chart,
    speed_chart,
)
from workers.evaluation.comparison import Comparison, SetInfo, SetResult, UtteranceRow, Worst
from workers.evaluation.intervals import REPLICATES, Bootstrap, Difference, Interval
from workers.evaluation.scores import EXCELLENT, GOOD, Score, UtteranceScore
from workers.evaluation.slices import by_duration, by_snr
from workers.evaluation.systems import SystemInfo
from workers.speech import SPEAKER_KEYS

#: A slice with less than this says nothing about a system.
MIN_SLICE_WORDS, MIN_SLICE_UTTERANCES = 10, 3
#: Fields with more values than this are shown as a table alone.
MAX_CHART_VALUES = 10
#: With fewer speakers, or utterances, than this the intervals themselves are rough.
FEW_BLOCKS = 30

#: The slices by a quantity: their values upwards, and what they are called.
_ORDERED = {
    "duration": ([each.value for each in by_duration([])], "duration"),
    "snr": ([each.value for each in by_snr([])], "signal-to-noise ratio"),
}
_NONE = "–"


@dataclass(frozen=True)
class Key:
    """How a system is shown everywhere: its name, its colour, its marker."""

    name: str
    colour: str
    marker: str


@dataclass(frozen=True)
class Cell:
    """A WER of the main table; `heat` is 0 to 100."""

    wer: float | None
    interval: Interval | None
    heat: float
    best: bool


@dataclass(frozen=True)
class Verdict:
    """What a set says.

    Attributes:
        best: the systems with the lowest WER; empty where nothing could be scored.
        better_than: systems that all of `best` are shown to be better than.
        unclear: systems for which that is not shown.
        tested: whether there are tests at all.
    """

    test_set: str
    best: list[Key]
    wer: float | None
    interval: Interval | None
    better_than: list[Key]
    unclear: list[Key]
    tested: bool


@dataclass(frozen=True)
class Bar:
    """An interval drawn: places from 0 to 200, the same scale for all pairs of a set."""

    zero: float
    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class Pair:
    """A difference as it is told: how much lower the WER of `better` is, in points."""

    better: Key
    worse: Key
    points: float
    low: float
    high: float
    p: str
    significant: bool
    bar: Bar


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    title: str
    meaning: str
    cells: list[str]


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
        return self.words < MIN_SLICE_WORDS or self.utterances < MIN_SLICE_UTTERANCES


@dataclass(frozen=True)
class SliceTable:
    """All the values of a field, pooled over `sets`.

    Attributes:
        mixed: the values hold the sets in different shares: what looks like an effect of the field
            can be one of the sets.
        chart: where it can be seen as one.
    """

    id: str
    title: str
    ordered: bool
    sets: list[str]
    rows: list[SliceRow]
    mixed: bool
    chart: Markup | None

    @property
    def left_out(self) -> list[str]:
        return [row.value for row in self.rows if row.thin]


@dataclass(frozen=True)
class Piece:
    """Words of an alignment; `kind` is equal, substitute, delete or insert."""

    kind: str
    spoken: str
    heard: str


@dataclass(frozen=True)
class WorstUtterance:
    """An utterance with errors, aligned."""

    id: str
    seconds: float
    errors: int
    wer: float | None
    failed: bool
    pieces: list[Piece]


@dataclass(frozen=True)
class SetView:
    """What is shown of one set, besides the main table."""

    info: SetInfo
    verdict: Verdict
    pairs: list[Pair]
    worst: list[tuple[Key, list[WorstUtterance]]]

    @property
    def significant(self) -> int:
        return sum(each.significant for each in self.pairs)


@dataclass(frozen=True)
class Details:
    """All other figures: a row for each set and system, its cells in the order of `columns`."""

    columns: list[Column]
    rows: dict[str, list[tuple[Key, list[str]]]]


@dataclass(frozen=True)
class Page:
    """All that the template shows."""

    comparison: Comparison
    made: str
    keys: list[Key]
    systems: list[Column]
    sets: list[SetView]
    overall: Verdict | None
    matrix: list[tuple[Key, list[Cell]]]
    speed: Markup | None
    slices: list[SliceTable]
    details: Details
    caveats: list[str]
    seconds: float
    utterances: int


def write_report(comparison: Comparison, path: str | Path) -> None:
    """Write the page, at once or not at all.

    It holds transcripts of the worst utterances: whoever may not read those may not have it.

    Raises:
        OSError: it cannot be written.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.partial")
    unfinished.write_text(render(comparison), encoding="utf-8")
    unfinished.replace(path)


def render(comparison: Comparison) -> str:
    """The page; the same comparison gives the same one."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"one": _one, "signed": _signed, "span": _length, "range": _range}
    return environment.get_template("report.html.j2").render(
        page=_page(comparison),
        replicates=REPLICATES,
        min_words=MIN_SLICE_WORDS,
        min_utterances=MIN_SLICE_UTTERANCES,
    )


def align(reference: str, hypothesis: str) -> list[Piece]:
    """Both texts, normalised, word by word, with the least number of edits."""
    as_it_is = jiwer.Compose([jiwer.ReduceToListOfListOfWords()])
    spoken, heard = normalise(reference), normalise(hypothesis)
    found = jiwer.process_words(
        " ".join(spoken),
        " ".join(heard),
        reference_transform=as_it_is,
        hypothesis_transform=as_it_is,
    )
    pieces = []
    for chunk in found.alignments[0]:
        one = spoken[chunk.ref_start_idx : chunk.ref_end_idx]
        other = heard[chunk.hyp_start_idx : chunk.hyp_end_idx]
        if chunk.type == "substitute":
            pieces += [Piece(chunk.type, a, b) for a, b in zip(one, other, strict=True)]
        else:
            pieces.append(Piece(chunk.type, " ".join(one), " ".join(other)))
    return pieces


class _Found:
    """A comparison, looked up by names."""

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison
        self.systems = [each.name for each in comparison.systems]
        self.keys = {
            name: Key(name, colour(number), marker_path(number))
            for number, name in enumerate(self.systems)
        }
        self.results = {(each.system, each.test_set): each for each in comparison.results}
        self.pairs = {each.test_set: each.pairs for each in comparison.differences}
        self.failed = {
            (each.system, each.test_set, each.id)
            for each in comparison.utterances
            if each.pred_text is None
        }

    def of_set(self, test_set: str) -> list[SetResult]:
        """In the order of the systems."""
        return [
            found
            for name in self.systems
            if (found := self.results.get((name, test_set))) is not None
        ]

    def of_system(self, system: str) -> list[SetResult]:
        """In the order of the sets."""
        return [
            found
            for each in self.comparison.sets
            if (found := self.results.get((system, each.name))) is not None
        ]


@dataclass(frozen=True)
class _Rate:
    """A system's WER on a set or on all of them."""

    system: str
    wer: float | None
    interval: Interval | None


def _page(comparison: Comparison) -> Page:
    found = _Found(comparison)
    by_set = {
        each.name: [_Rate(r.system, r.score.wer, r.interval) for r in found.of_set(each.name)]
        for each in comparison.sets
    }
    overall = _overall(found) if len(comparison.sets) > 1 else []
    return Page(
        comparison=comparison,
        made=_time(comparison.made),
        keys=list(found.keys.values()),
        systems=_system_columns(comparison),
        sets=[_set_view(found, each, by_set[each.name]) for each in comparison.sets],
        overall=_verdict(found, "", overall, []) if overall else None,
        matrix=_matrix(found, [*by_set.values(), *([overall] if overall else [])]),
        speed=_speed(found, overall or next(iter(by_set.values()), [])),
        slices=_slice_tables(found),
        details=_details(found),
        caveats=_caveats(comparison),
        seconds=sum(each.seconds for each in comparison.sets),
        utterances=sum(each.utterances for each in comparison.sets),
    )


def _set_view(found: _Found, info: SetInfo, rates: Sequence[_Rate]) -> SetView:
    pairs = found.pairs.get(info.name, [])
    return SetView(
        info=info,
        verdict=_verdict(found, info.name, rates, pairs),
        pairs=_pairs(found, pairs),
        worst=[
            (found.keys[each.system], [_worst(found, each, one) for one in each.worst])
            for each in found.of_set(info.name)
            if each.worst
        ],
    )


# --- the verdict and the main table


def _verdict(
    found: _Found, test_set: str, rates: Sequence[_Rate], pairs: Sequence[Difference]
) -> Verdict:
    best = [each for each in rates if each.wer is not None and each.wer == _lowest(rates)]
    leaders = {each.system for each in best}
    proven = {
        (each.a, each.b) if each.wer < 0 else (each.b, each.a) for each in pairs if each.significant
    }
    others = [each.system for each in rates if each.system not in leaders and each.wer is not None]
    better_than = [name for name in others if all((one, name) in proven for one in leaders)]
    return Verdict(
        test_set=test_set,
        best=[found.keys[each.system] for each in best],
        wer=best[0].wer if best else None,
        interval=best[0].interval if best else None,
        better_than=[found.keys[name] for name in better_than],
        unclear=[found.keys[name] for name in others if name not in better_than],
        tested=bool(pairs),
    )


def _lowest(rates: Sequence[_Rate]) -> float | None:
    return min((each.wer for each in rates if each.wer is not None), default=None)


def _overall(found: _Found) -> list[_Rate]:
    """Each system on all the sets as if they were one."""
    rows: dict[str, list[UtteranceRow]] = {name: [] for name in found.systems}
    for row in found.comparison.utterances:
        if row.system in rows:
            rows[row.system].append(row)
    return [
        _Rate(
            name,
            sum((each.score.words for each in found.of_system(name)), start=ErrorCounts()).percent,
            _overall_interval(rows[name]),
        )
        for name in found.systems
    ]


def _overall_interval(rows: Sequence[UtteranceRow]) -> Interval | None:
    scores = [
        None
        if each.errors is None or each.reference_words is None
        # an interval takes errors of any kind
        else UtteranceScore(
            words=ErrorCounts(substitutions=each.errors, reference=each.reference_words),
            characters=ErrorCounts(),
        )
        for each in rows
    ]
    bootstrap = Bootstrap([each.speaker for each in rows], [each is not None for each in scores])
    return bootstrap.interval(scores)


def _matrix(found: _Found, columns: Sequence[Sequence[_Rate]]) -> list[tuple[Key, list[Cell]]]:
    """A row for each system: its WER on each set, and overall."""
    rows: list[tuple[Key, list[Cell]]] = []
    for name in found.systems:
        cells = []
        for rates in columns:
            rate = next((each for each in rates if each.system == name), _Rate(name, None, None))
            best = rate.wer is not None and len(rates) > 1 and rate.wer == _lowest(rates)
            cells.append(Cell(rate.wer, rate.interval, _heat(rate.wer), best))
        rows.append((found.keys[name], cells))
    return rows


def _heat(wer: float | None) -> float:
    """0 to 100; the root lets 2% and 5% differ where something else has 100%."""
    return round(100 * sqrt(min(100.0, wer or 0.0) / 100))


# --- differences


def _pairs(found: _Found, pairs: Sequence[Difference]) -> list[Pair]:
    """The proven ones first, the largest first."""
    ends = [0.0, *(end for each in pairs for end in _told(each)[2:])]
    told = [_pair(found, each, min(ends), max(ends)) for each in pairs]
    return sorted(told, key=lambda each: (not each.significant, -each.points))


def _told(each: Difference) -> tuple[str, str, float, float]:
    """Who is better than whom, and the ends of the interval as seen by the better one."""
    if each.wer > 0:
        return each.b, each.a, each.low, each.high
    return each.a, each.b, -each.high, -each.low


def _pair(found: _Found, each: Difference, left: float, right: float) -> Pair:
    def place(points: float) -> float:
        return round(200 * (points - left) / ((right - left) or 1.0), 1)

    better, worse, low, high = _told(each)
    points = abs(each.wer)
    return Pair(
        better=found.keys[better],
        worse=found.keys[worse],
        points=points,
        low=low,
        high=high,
        p=_p(each.p_adjusted),
        significant=each.significant,
        bar=Bar(zero=place(0.0), low=place(low), middle=place(points), high=place(high)),
    )


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


# --- tables of facts


def _column(title: str, meaning: str, cells: Sequence[str]) -> list[Column]:
    """None where no cell has anything to say."""
    return [Column(title, meaning, list(cells))] if any(each != _NONE for each in cells) else []


def _details(found: _Found) -> Details:
    results = [each for info in found.comparison.sets for each in found.of_set(info.name)]
    columns = _detail_columns(results)
    rows: dict[str, list[tuple[Key, list[str]]]] = {}
    for number, each in enumerate(results):
        cells = [column.cells[number] for column in columns]
        rows.setdefault(each.test_set, []).append((found.keys[each.system], cells))
    return Details(columns, rows)


def _detail_columns(results: Sequence[SetResult]) -> list[Column]:
    def rate(title: str, meaning: str, value: Callable[[Score], float | None]) -> list[Column]:
        return _column(title, meaning, [_one(value(each.score)) for each in results])

    def count(title: str, meaning: str, value: Callable[[Score], int]) -> list[Column]:
        """Nothing to say where all are 0."""
        counts = [value(each.score) for each in results]
        return _column(title, meaning, [str(n) for n in counts] if any(counts) else [])

    return [
        *rate("WER, %", "word error rate, pooled", lambda s: s.wer),
        *rate("CER, %", "character error rate, pooled", lambda s: s.cer),
        *count("Subst.", "substituted words", lambda s: s.words.substitutions),
        *count("Del.", "deleted words", lambda s: s.words.deletions),
        *count("Ins.", "inserted words", lambda s: s.words.insertions),
        *count("Words", "words of the references", lambda s: s.words.reference),
        *rate("Mean", "mean of the utterances' WER, %", lambda s: s.mean_wer),
        *rate("Median", "median of the utterances' WER, %", lambda s: s.median_wer),
        *rate("SD", "standard deviation of the utterances' WER, points", lambda s: s.wer_std),
        *rate(
            f"≤ {EXCELLENT:g}%",
            f"excellent: percent of the utterances with a WER of at most {EXCELLENT:g}%",
            lambda s: s.excellent_rate,
        ),
        *rate(
            f"≤ {GOOD:g}%",
            f"good: percent of the utterances with a WER of at most {GOOD:g}%",
            lambda s: s.good_rate,
        ),
        *_column("RTFx", "seconds of audio by seconds of work", [_speedy(r.rtfx) for r in results]),
        *_column("Utt./s", "utterances a second", [_speedy(r.samples_per_second) for r in results]),
        *count("Failed", "utterances without an answer; all words count", lambda s: s.failed),
        *count("Silent", "utterances in which nothing is said", lambda s: s.empty_references),
        *count("Unscored", "utterances without a reference", lambda s: s.without_reference),
    ]


def _system_columns(comparison: Comparison) -> list[Column]:
    def column(title: str, value: Callable[[SystemInfo], str]) -> list[Column]:
        return _column(title, "", [value(each) or _NONE for each in comparison.systems])

    memory = comparison.gpu_memory_gb
    return [
        *column("Type", lambda s: s.type),
        *column("Domain", lambda s: s.domain),
        *column("Device", lambda s: s.device),
        *column("GPU memory, GiB", lambda s: _one(memory.get(s.name) or None)),
        *column("Loaded in, s", lambda s: _one(s.load_seconds or None)),
        *column("SHA-256", lambda s: s.sha256[:12]),
    ]


# --- charts


def _speed(found: _Found, rates: Sequence[_Rate]) -> Markup | None:
    """None with fewer than two systems that have both: there is nothing to trade."""
    points = [
        Point(
            each.system,
            found.systems.index(each.system),
            rtfx,
            each.wer,
            each.interval.low if each.interval else None,
            each.interval.high if each.interval else None,
        )
        for each in rates
        if each.wer is not None and (rtfx := _overall_rtfx(found, each.system)) is not None
    ]
    return Markup(speed_chart(points)) if len(points) > 1 else None


def _overall_rtfx(found: _Found, system: str) -> float | None:
    """All audio by all work, of the sets whose speed is known."""
    seconds = {each.name: each.seconds for each in found.comparison.sets}
    timed = [
        (seconds[each.test_set], seconds[each.test_set] / each.rtfx)
        for each in found.of_system(system)
        if each.rtfx
    ]
    work = sum(each for _, each in timed)
    return sum(each for each, _ in timed) / work if work else None


def _slice_tables(found: _Found) -> list[SliceTable]:
    fields = dict.fromkeys(part.field for each in found.comparison.results for part in each.slices)
    order = sorted(fields, key=lambda name: [*_ORDERED, name].index(name))
    tables = [_slice_table(found, f"slice-{n}", name) for n, name in enumerate(order)]
    return [each for each in tables if each.rows]


def _slice_table(found: _Found, identity: str, name: str) -> SliceTable:
    parts: dict[str, dict[str, dict[str, Score]]] = {}
    for result in found.comparison.results:
        for each in result.slices:
            if each.field == name and each.score.utterances:
                of_value = parts.setdefault(each.value, {})
                of_value.setdefault(result.test_set, {})[result.system] = each.score
    order, title = _ORDERED.get(name, (None, name))
    rows = _in_order([_slice_row(found, value, sets) for value, sets in parts.items()], order)
    solid = [row for row in rows if not row.thin]
    drawn = name not in SPEAKER_KEYS and 2 <= len(solid) <= MAX_CHART_VALUES
    return SliceTable(
        id=identity,
        title=title,
        ordered=order is not None,
        sets=list(dict.fromkeys(each.value for row in rows for each in row.by_set)),
        rows=rows,
        mixed=_mixed(solid),
        chart=_slice_chart(found, identity, solid, order is not None) if drawn else None,
    )


def _slice_row(found: _Found, value: str, sets: Mapping[str, Mapping[str, Score]]) -> SliceRow:
    by_set = [
        _row(found, name, {system: [score] for system, score in of_system.items()})
        for name, of_system in sets.items()
    ]
    scores: dict[str, list[Score]] = {}
    for of_system in sets.values():
        for system, score in of_system.items():
            scores.setdefault(system, []).append(score)
    return replace(_row(found, value, scores), by_set=by_set)


def _row(found: _Found, value: str, scores: Mapping[str, Sequence[Score]]) -> SliceRow:
    words = {
        system: sum((each.words for each in some), start=ErrorCounts())
        for system, some in scores.items()
    }
    return SliceRow(
        value=value,
        utterances=max(sum(each.utterances for each in some) for some in scores.values()),
        words=max(each.reference for each in words.values()),
        wers=[words[name].percent if name in words else None for name in found.systems],
        by_set=[],
    )


def _mixed(rows: Sequence[SliceRow]) -> bool:
    """Whether two rows differ by a quarter or more of their words in which sets they are from."""
    shares = [{each.value: each.words / row.words for each in row.by_set} for row in rows]
    return any(
        sum(abs(a.get(name, 0.0) - b.get(name, 0.0)) for name in a.keys() | b.keys()) / 2 >= 0.25
        for a, b in combinations(shares, 2)
    )


def _slice_chart(found: _Found, identity: str, rows: Sequence[SliceRow], ordered: bool) -> Markup:
    draw = ordered_chart if ordered else category_chart
    series = [
        Series(system, number, [row.wers[number] for row in rows])
        for number, system in enumerate(found.systems)
    ]
    values, counts = [row.value for row in rows], [row.utterances for row in rows]
    return Markup(draw(identity, values, counts, series))


def _in_order(rows: list[SliceRow], order: Sequence[str] | None) -> list[SliceRow]:
    """As `order` has it; else numbers upwards; else the largest first."""
    if order is not None:
        return sorted(rows, key=lambda row: order.index(row.value) if row.value in order else -1)
    try:
        return sorted(rows, key=lambda row: float(row.value))
    except ValueError:
        return sorted(rows, key=lambda row: (-row.utterances, row.value))


# --- utterances


def _worst(found: _Found, result: SetResult, each: Worst) -> WorstUtterance:
    return WorstUtterance(
        id=each.id,
        seconds=each.duration,
        errors=each.errors,
        wer=each.wer,
        failed=(result.system, result.test_set, each.id) in found.failed,
        pieces=align(each.reference, each.hypothesis),
    )


def _caveats(comparison: Comparison) -> list[str]:
    """What a reader of these very figures must know."""
    sets = comparison.sets
    few = [each for each in sets if each.blocks < FEW_BLOCKS]
    alone = [each for each in sets if each.drawn == "utterances"]
    found = []
    if few:
        told = ", ".join(f"{each.name} ({each.blocks} {each.drawn})" for each in few)
        found.append(
            f"Few {_units(few)} are behind the figures of {told}: the intervals are rough, and"
            " differences that matter can go unseen."
        )
    if alone:
        told = ", ".join(each.name for each in alone)
        found.append(
            f"For {told} utterances were drawn, as too few speakers are named. Where speakers"
            " return, the real uncertainty is larger."
        )
    if any(each.left_out for each in sets):
        told = ", ".join(f"{each.name} ({each.left_out})" for each in sets if each.left_out)
        found.append(f"Lines of the manifests were at fault and are left out: {told}.")
    if any(each.score.failed for each in comparison.results):
        found.append("Where a system gave no answer, all words of the reference count as deleted.")
    return found


def _units(sets: Sequence[SetInfo]) -> str:
    return " or ".join(dict.fromkeys(each.drawn for each in sets))


# --- figures as text


def _one(value: float | None) -> str:
    return _NONE if value is None else f"{value:.1f}"


def _signed(value: float) -> str:
    """With a true minus; never a negative zero."""
    text = f"{value:.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "−")


def _range(interval: Interval) -> str:
    return f"{interval.low:.1f}–{interval.high:.1f}"


def _speedy(value: float | None) -> str:
    """Three digits, more where there are more before the point."""
    if value is None:
        return _NONE
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _length(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} h"


def _time(text: str) -> str:
    try:
        made = datetime.fromisoformat(text)
    except ValueError:
        return text
    made = made.astimezone(UTC) if made.tzinfo else made
    return made.strftime("%Y-%m-%d %H:%M UTC")
