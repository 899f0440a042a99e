from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from tests.workers.evaluation.report.samples import SLICES, comparison, spoken
from workers.evaluation.comparison.results import UtteranceRow
from workers.evaluation.report import render


def chart(utterances: Sequence[UtteranceRow]) -> str:
    """The chart of a page on two systems; empty where there is none."""
    made = comparison({"calm": {"a": 10, "b": 20}}, slices={"calm": SLICES[1:2]})
    made.utterances[:] = utterances
    found = re.findall(
        r'<svg [^>]*aria-labelledby="slice-0-title".*?</svg>', render(made), re.DOTALL
    )
    return "".join(found)


def curves(svg: str) -> list[list[tuple[float, float]]]:
    """The points of each line but those of axes and grid, from the top left."""
    lines = re.findall(r'<path d="(M[^"]*)"[^>]*stroke-opacity: 0\.55', svg)
    return [
        [(float(x), float(y)) for x, y in re.findall(r"[ML] ([\d.]+) ([\d.]+)", each)]
        for each in lines
    ]


def both(durations: Sequence[float], errors: Sequence[int]) -> list[UtteranceRow]:
    return [
        spoken(system, number, seconds, wrong * factor)
        for system, factor in (("a", 1), ("b", 2))
        for number, (seconds, wrong) in enumerate(zip(durations, errors, strict=True))
    ]


def test_errors_are_drawn_against_durations_also_of_one_range() -> None:
    durations = [2 + n / 10 for n in range(29)]  # all between 2 and 5 s
    one, other = curves(chart(both(durations, [n // 5 for n in range(29)])))
    assert len(one) == len(other) == 6
    assert [x for x, _ in one] == sorted({x for x, _ in one}) == [x for x, _ in other]
    assert [y for _, y in one] == sorted((y for _, y in one), reverse=True), "errors rise"
    assert all(low > high for (_, low), (_, high) in zip(one[1:], other[1:], strict=True))


def test_long_utterances_have_points_of_their_own() -> None:
    durations = [*([3.0] * 30), 18.0, 19.0, 20.0]
    rows = [
        spoken(name, n, seconds, 1, 20 if seconds < 5 else 200)
        for name in ("a", "b")
        for n, seconds in enumerate(durations)
    ]
    one, _ = curves(chart(rows))
    assert len(one) == 2


def test_a_few_long_utterances_are_no_point_and_move_none() -> None:
    one, _ = curves(chart(both([2.0] * 10 + [3.0] * 10 + [30.0] * 2, [1] * 20 + [20] * 2)))
    assert len(one) == 2
    assert one[0][1] == one[1][1], "both have 5%"


@pytest.mark.parametrize(
    "utterances",
    [both([3.0] * 40, [1] * 40), both([1.0, 2.0, 3.0], [1, 1, 1]), []],
    ids=["of one duration", "too few", "none"],
)
def test_what_says_nothing_about_durations_is_not_drawn(utterances: list[UtteranceRow]) -> None:
    assert chart(utterances) == ""
