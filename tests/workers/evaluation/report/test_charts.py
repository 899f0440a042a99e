from __future__ import annotations

import re

from workers.evaluation.report.charts.markers import COLOURS, MARKERS, marker_path
from workers.evaluation.report.charts.speed import Point, speed_chart


def test_no_two_of_many_systems_look_the_same() -> None:
    looks = {(n % COLOURS, marker_path(n)) for n in range(COLOURS * len(MARKERS))}
    assert len(looks) == COLOURS * len(MARKERS)


def test_labels_of_the_speed_chart_do_not_cover_each_other() -> None:
    points = [Point(f"system {n}", n, 100 + n**3, 10.0, 9.0, 11.0) for n in range(4)]
    svg = speed_chart(points)
    places = re.findall(r' x="([\d.]+)" y="([\d.]+)"[^>]*>system', svg)
    assert len(places) == 4
    spots = [(float(x), float(y)) for x, y in places]
    for index, one in enumerate(spots):
        for other in spots[:index]:
            assert abs(one[0] - other[0]) > 45 or abs(one[1] - other[1]) > 11
