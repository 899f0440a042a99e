"""The chart of accuracy against the duration of the utterances."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from markupsafe import Markup

from workers.evaluation.comparison.results import Comparison, UtteranceRow
from workers.evaluation.report.charts.duration import Curve, duration_chart
from workers.evaluation.report.keys import Keys
from workers.evaluation.report.thin import is_thin

#: Groups of utterances of similar duration: about so many, each of so many words or more.
GROUPS, GROUP_WORDS = 6, 100
#: The longest utterance of a group is at most so many times as long as the shortest.
SPAN = 2.0


def duration_figure(keys: Keys, comparison: Comparison, identity: str) -> Markup | None:
    """The chart as SVG; None where the utterances are too few, or all of one duration.

    The scored utterances of all sets are cut by their duration into groups of about as many words,
    so that the chart shows how errors depend on it whatever durations the sets have.
    """
    rows: dict[str, list[UtteranceRow]] = {name: [] for name in keys}
    for each in comparison.utterances:
        if each.errors is not None:
            rows[each.system].append(each)
    groups = _groups(next(iter(rows.values())))
    if len(groups) < 2:
        return None
    curves = [_curve(keys[name].number, of_system, groups) for name, of_system in rows.items()]
    return Markup(duration_chart(identity, curves))


def _groups(rows: Sequence[UtteranceRow]) -> list[list[int]]:
    """Indices of the utterances of each group, short ones first; equal durations stay together."""
    enough = max(GROUP_WORDS, sum(each.reference_words or 0 for each in rows) / GROUPS)
    groups: list[list[int]] = [[]]
    words = 0  # of the last group
    for index in sorted(range(len(rows)), key=lambda n: rows[n].duration):
        group, duration = groups[-1], rows[index].duration
        if not is_thin(words, len(group)) and (
            duration > SPAN * rows[group[0]].duration
            or (words >= enough and duration > rows[group[-1]].duration)
        ):
            groups.append([])
            words = 0
        groups[-1].append(index)
        words += rows[index].reference_words or 0
    return groups[:-1] if is_thin(words, len(groups[-1])) else groups


def _curve(number: int, rows: Sequence[UtteranceRow], groups: Sequence[Sequence[int]]) -> Curve:
    points = []
    for group in groups:
        some = [rows[n] for n in group]
        words = sum(each.reference_words or 0 for each in some)
        errors = sum(each.errors or 0 for each in some)
        middle = median(each.duration for each in some)
        points.append((middle, 100 * errors / words))
    return Curve(number, points)
