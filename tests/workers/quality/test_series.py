"""Series that keep a bounded number of observations, and say the same."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest

from tests.workers.quality.simulated import observations
from workers.quality.observations import Observation
from workers.quality.series import AllSeries, Series
from workers.quality.verdict import Finding, Rules, Status, judge

RULES = Rules(reference=500)
MOST = 4000


def looks(found: list[Observation], every: int) -> list[Finding]:
    """What is said after so many more records, again and again."""
    series, said = AllSeries(MOST), []
    for number, each in enumerate(found, 1):
        series.add(each)
        if number % every == 0:
            said += judge(series.in_order(), RULES)
    return said


def test_the_first_and_the_latest_are_kept() -> None:
    series = Series("general", "calls", "1", 400)
    for each in observations(0, 1000):
        series.add(each)
    assert series.records == 1000
    assert (series.first, series.last) == (0.0, 999.0)
    words, seconds, numbers = series.values("words_per_second")
    assert 100 < len(words) == len(seconds) < 400
    assert list(numbers) == list(range(len(words)))
    times = [series.time_of(number) for number in numbers]
    assert times[:100] == [float(number) for number in range(100)]
    assert times[-100:] == [float(number) for number in range(900, 1000)]
    assert all(a is not None and b is not None and a < b for a, b in pairwise(times))


def test_the_chances_of_an_error_add_up_to_one() -> None:
    series, chances = Series("general", "calls", "1", 400), [0.5]
    for each in observations(0, 6000):
        series.add(each)
        if series.chance != chances[-1]:
            chances.append(series.chance)
    assert len(chances) > 15
    assert sum(chances) == pytest.approx(1, abs=0.1)
    assert sum(chances) < 1
    assert Series("general", "calls", "1").chance == 1


def test_a_model_that_stays_as_it_is_raises_no_alarm_in_a_long_stream() -> None:
    assert {each.status for each in looks(observations(1, 20_000), 1000)[1:]} == {Status.STABLE}


def test_a_change_is_found_after_much_has_been_forgotten() -> None:
    worse = observations(2, 500, wer=0.16, start=12_000.0)
    said = looks([*observations(2, 12_000), *worse], 500)
    assert [each.status for each in said[-2:]] == [Status.STABLE, Status.WORSE]
    (wer,) = (each for each in said[-1].comparisons[0].measures if each.measure == "wer")
    assert wer.since == pytest.approx(12_000, abs=100)
    assert said[-1].records == 12_500


def test_the_latest_versions_are_kept() -> None:
    series = AllSeries(versions=2)
    for number, version in enumerate("abcb"):
        (seen,) = observations(0, 1, version=version, start=float(number))
        series.add(msgspec.structs.replace(seen, time=float(number)))
    assert [each.version for each in series.in_order()] == ["b", "c"]
