from __future__ import annotations

from workers.evaluation.report.text import (
    NONE,
    between,
    duration,
    moment,
    one_decimal,
    p_value,
    shorten,
    signed,
    three_digits,
)
from workers.evaluation.statistics.intervals import Interval


def test_figures_are_short_and_never_lie_about_their_sign() -> None:
    assert [one_decimal(None), one_decimal(12.34)] == [NONE, "12.3"]
    assert [signed(-1.25), signed(-0.01), signed(2)] == ["−1.2", "0.0", "2.0"]
    assert between(Interval(1.04, 2)) == "1.0–2.0"
    assert [three_digits(x) for x in (None, 1.234, 12.34, 1234)] == [NONE, "1.23", "12.3", "1,234"]
    assert [p_value(x) for x in (0.0001, 0.0123, 0.5)] == ["< 0.001", "0.012", "0.50"]


def test_times() -> None:
    assert [duration(x) for x in (5, 90, 9000)] == ["5 s", "1.5 min", "2.5 h"]
    assert moment("2026-03-04T07:06:07+02:00") == "2026-03-04 05:06 UTC"
    assert moment("yesterday") == "yesterday"


def test_long_names_end_in_an_ellipsis() -> None:
    assert shorten("a\n b") == "a b"
    assert shorten("abcdef", 4) == "abc…"
