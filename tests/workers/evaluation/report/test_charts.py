from __future__ import annotations

import re

import pytest

from workers.evaluation.report.charts.markers import COLOURS, MARKERS, marker_path
from workers.evaluation.report.charts.speed import Point, speed_chart


def test_no_two_of_many_systems_look_the_same() -> None:
    looks = {(n % COLOURS, marker_path(n)) for n in range(COLOURS * len(MARKERS))}
    assert len(looks) == COLOURS * len(MARKERS)


def spots(svg: str) -> list[tuple[float, float]]:
    """Where the names of systems are, in points from the top left."""
    places = re.findall(r' x="([\d.]+)" y="([\d.]+)"[^>]*>system', svg)
    return [(float(x), float(y)) for x, y in places]


@pytest.mark.parametrize("speeds", [[100, 101, 108, 127], [100, 100, 100, 100], [9, 10, 90, 900]])
def test_labels_of_the_speed_chart_do_not_cover_each_other(speeds: list[float]) -> None:
    points = [Point(f"system {n}", n, speed, 10.0, 9.0, 11.0) for n, speed in enumerate(speeds)]
    places = spots(speed_chart(points))
    assert len(places) == 4
    for index, one in enumerate(places):
        for other in places[:index]:
            assert abs(one[0] - other[0]) > 45 or abs(one[1] - other[1]) > 11


def test_a_label_with_room_is_beside_its_point() -> None:
    svg = speed_chart([Point("system 0", 0, 100, 10.0), Point("system 1", 1, 200, 20.0)])
    (left, low), (right, high) = spots(svg)
    assert left < right
    assert low > high, "a lower WER is further down"


def test_the_same_points_make_the_same_chart() -> None:
    points = [Point(f"system {n}", n, 100 + n**2, 10 + n / 10, 9.0, 12.0) for n in range(8)]
    assert speed_chart(points) == speed_chart(points)
