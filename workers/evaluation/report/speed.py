"""The chart of accuracy against speed."""

from __future__ import annotations

from markupsafe import Markup

from workers.evaluation.report.charts.speed import Point, speed_chart
from workers.evaluation.report.keys import Keys
from workers.evaluation.report.verdict import Results


def speed_figure(keys: Keys, results: Results) -> Markup | None:
    """The chart as SVG; None where fewer than two systems have a WER and a speed."""
    points = [
        Point(
            name=each.system,
            number=keys[each.system].number,
            rtfx=each.rtfx,
            wer=each.score.wer,
            low=each.interval.low if each.interval else None,
            high=each.interval.high if each.interval else None,
        )
        for each in results
        if each.score.wer is not None and each.rtfx is not None
    ]
    return Markup(speed_chart(points)) if len(points) > 1 else None
