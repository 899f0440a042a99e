"""What the measures of a series say together: stable, worse, better, other audio, or nothing.

Each version is compared with its own beginning and with the version before it. The probability of
ever reporting a change where there is none is shared out: evenly over these comparisons; of each, a
half to the WER, a quarter to what texts say without references, a quarter to the audio, evenly over
the measures of each kind (Bonferroni). So it holds for the report as a whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from itertools import groupby

import msgspec
import numpy as np

from workers.quality.observations import MEASURES, Kind, Measure
from workers.quality.series import Series
from workers.quality.trend import LEAST, WINDOW, Trend, find_change, ratio_interval

_SHARES = {Kind.WER: 0.5, Kind.TEXT: 0.25, Kind.AUDIO: 0.25}
_OF_KIND = Counter(each.kind for each in MEASURES)
#: Changes of texts and of the audio that begin within so many records are one event.
_TOGETHER = 4 * WINDOW


class Status(StrEnum):
    """What can be said of a version of a model.

    - ``no data``: too few records, or none of late.
    - ``stable``: nothing has certainly changed; the intervals say how much may have.
    - ``better``: something is better, nothing worse.
    - ``worse``: something is worse.
    - ``changed``: something is different of which neither can be said.
    """

    NO_DATA = "no data"
    STABLE = "stable"
    BETTER = "better"
    WORSE = "worse"
    CHANGED = "changed"


#: Statuses that somebody has to look at.
DRIFT = frozenset({Status.WORSE, Status.CHANGED})
_GRAVITY = (Status.NO_DATA, Status.STABLE, Status.BETTER, Status.CHANGED, Status.WORSE)


class Cause(StrEnum):
    """Where a change comes from.

    - ``version``: it came with another version of the model.
    - ``audio``: the audio changed at the same time.
    - ``model``: neither; the model does worse, or people say other things.
    """

    VERSION = "version"
    AUDIO = "audio"
    MODEL = "model"


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """How a report is made.

    Attributes:
        reference: the first records of a version that the others are compared with; a multiple of
            50, and at least 100.
        error_rate: probability that a report on quality that never changes ever says otherwise,
            however often it is made anew.
        silent_s: a series without a record for longer is reported as "no data"; None never.
        now: Unix time in seconds that silence is counted up to.
    """

    reference: int = 1000
    error_rate: float = 0.02
    silent_s: float | None = None
    now: float | None = None

    def __post_init__(self) -> None:
        if self.reference < LEAST or self.reference % WINDOW:
            raise ValueError(
                f"the reference has to be a multiple of {WINDOW} records, at least {LEAST}"
            )
        if not 0 < self.error_rate < 1:
            raise ValueError("the error rate has to be between 0 and 1")


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """A measure that was compared.

    Attributes:
        measure: its name.
        status: of this measure.
        before: the ratio in the reference, or before the change.
        after: the ratio since.
        low: lower end of the 95% interval of ``after - before``, right at every look.
        high: upper end of it.
        since: Unix time in seconds of the record where the change probably began; None if there
            is none, or no time.
        at: that record's number among those of the version, from 0; None if there is none.
        certain_after: records with the measure after which the change was certain, from there on.
    """

    measure: str
    status: Status
    before: float
    after: float
    low: float
    high: float
    since: float | None = None
    at: int | None = None
    certain_after: int | None = None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A version beside its own beginning, or beside the version before it.

    Attributes:
        against: the version that it is compared with; None for its own beginning.
        status: of all measures together.
        cause: of the change; None without one.
        measures: those with enough records for it.
    """

    against: str | None
    status: Status
    cause: Cause | None
    measures: list[Moved]


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """A measure over all records of a version.

    Attributes:
        records: that have it.
        value: the ratio.
        low: lower end of its 95% interval, right at every look; None with fewer than 100 records.
        high: upper end of it.
    """

    records: int
    value: float
    low: float | None = None
    high: float | None = None


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of a version of a model in a domain.

    Attributes:
        model, domain, version: which.
        records: how many.
        first: Unix time in seconds of the earliest; None where there is no time.
        last: likewise of the latest.
        status: of all comparisons together.
        why: where it is "no data", the reason.
        levels: measures over all its records, by name.
        comparisons: with its own beginning, and with the version before it.
    """

    model: str
    domain: str
    version: str
    records: int
    first: float | None
    last: float | None
    status: Status
    why: str = ""
    levels: dict[str, Level] = {}
    comparisons: list[Comparison] = []


def judge(series: Sequence[Series], rules: Rules, expected: Iterable[str] = ()) -> list[Finding]:
    """What can be said of each series.

    Args:
        series: as `in_series` sorts them.
        rules: of the report.
        expected: names of models that should have transcripts; those that have none are "no data".
    """
    pairs = list(_pairs(series))
    alpha = rules.error_rate / max(1, len(pairs))
    found = []
    for each in series:
        with_each = [_compare(each, other, rules, alpha) for one, other in pairs if one is each]
        found.append(_finding(each, [known for known in with_each if known], rules))
    known_models = {each.model for each in series}
    missing = [model for model in expected if model not in known_models]
    return [*found, *map(_without_data, missing)]


def _pairs(series: Sequence[Series]) -> Iterator[tuple[Series, Series | None]]:
    """Each series with None for its own beginning, and with the version before it."""
    for _, versions in groupby(series, key=lambda each: (each.model, each.domain)):
        before = None
        for each in versions:
            yield each, None
            if before is not None:
                yield each, before
            before = each


def _without_data(model: str) -> Finding:
    return Finding(
        model=model,
        domain="",
        version="",
        records=0,
        first=None,
        last=None,
        status=Status.NO_DATA,
        why="it has written nothing",
    )


def _finding(series: Series, comparisons: list[Comparison], rules: Rules) -> Finding:
    levels = {}
    for measure in MEASURES:
        numerators, denominators, _ = series.values(measure.name)
        if denominators.sum() > 0:
            value, low, high = ratio_interval(numerators, denominators, share=measure.share)
            interval = (None, None) if np.isnan(low) else (low, high)
            levels[measure.name] = Level(
                records=len(numerators), value=value, low=interval[0], high=interval[1]
            )
    status = max((each.status for each in comparisons), key=_GRAVITY.index, default=None)
    why = ""
    if status is None:
        status = Status.NO_DATA
        why = f"{series.records} records; {rules.reference + LEAST} are needed"
    if status not in DRIFT and _is_silent(series, rules):
        status, why = Status.NO_DATA, "it has written nothing of late"
    return Finding(
        model=series.model,
        domain=series.domain,
        version=series.version,
        records=series.records,
        first=series.first,
        last=series.last,
        status=status,
        why=why,
        levels=levels,
        comparisons=comparisons,
    )


def _is_silent(series: Series, rules: Rules) -> bool:
    if rules.silent_s is None or rules.now is None or series.last is None:
        return False
    return rules.now - series.last > rules.silent_s


def _compare(
    series: Series, against: Series | None, rules: Rules, alpha: float
) -> Comparison | None:
    """The comparison; None without enough records of any measure."""
    found = []
    alpha *= series.chance * (1.0 if against is None else against.chance)
    for measure in MEASURES:
        part = alpha * _SHARES[measure.kind] / _OF_KIND[measure.kind]
        moved = _moved(measure, series, against, rules, part)
        if moved is not None:
            found.append(moved)
    if not found:
        return None
    status = max((each.status for each in found), key=_GRAVITY.index)
    return Comparison(
        against=None if against is None else against.version,
        status=status,
        cause=_cause(found, against),
        measures=found,
    )


def _moved(
    measure: Measure, series: Series, against: Series | None, rules: Rules, alpha: float
) -> Moved | None:
    numerators, denominators, numbers = series.values(measure.name)
    earlier, first = 0, rules.reference
    if against is not None:
        old = against.values(measure.name)
        earlier = first = len(old[0]) // WINDOW * WINDOW
        start = len(old[0]) - earlier
        numerators = np.concatenate([old[0][start:], numerators])
        denominators = np.concatenate([old[1][start:], denominators])
    if first < LEAST or len(numerators) < first + LEAST:
        return None
    if min(denominators[:first].sum(), denominators[first:].sum()) <= 0:
        return None
    trend = find_change(
        numerators,
        denominators,
        first=first,
        alpha=alpha,
        anywhere=against is None,
        share=measure.share,
    )
    status = _status(measure, trend)
    change = None if status is Status.STABLE else trend.change
    at = None if change is None else int(numbers[change.at - earlier])
    return Moved(
        measure=measure.name,
        status=status,
        before=trend.before,
        after=trend.after,
        low=trend.low,
        high=trend.high,
        since=None if at is None else series.time_of(at),
        at=at,
        certain_after=None if change is None else change.certain_at - change.at,
    )


def _status(measure: Measure, trend: Trend) -> Status:
    least = measure.least * (abs(trend.before) if measure.relative else 1)
    if trend.change is None or abs(trend.difference) < least:
        return Status.STABLE
    if not measure.worse:
        return Status.CHANGED
    return Status.WORSE if measure.worse * trend.difference > 0 else Status.BETTER


def _cause(measures: list[Moved], against: Series | None) -> Cause | None:
    kinds = {each.name: each.kind for each in MEASURES}
    moved = [each for each in measures if each.at is not None]
    audio = [each for each in moved if kinds[each.measure] is Kind.AUDIO]
    texts = [each for each in moved if kinds[each.measure] is not Kind.AUDIO]
    if not moved:
        return None
    if not texts:
        return Cause.AUDIO
    if against is not None:
        return Cause.AUDIO if audio else Cause.VERSION
    return (
        Cause.AUDIO if any(_together(one, two) for one in texts for two in audio) else Cause.MODEL
    )


def _together(one: Moved, two: Moved) -> bool:
    return one.at is not None and two.at is not None and abs(one.at - two.at) <= _TOGETHER
