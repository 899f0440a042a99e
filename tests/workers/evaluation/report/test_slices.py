from __future__ import annotations

import re

from tests.workers.evaluation.report.samples import SLICES, THREE, comparison, score_of
from workers.evaluation.comparison.results import SliceScore
from workers.evaluation.report import render


def test_slices_are_pooled_ordered_and_thin_ones_marked(full: str) -> None:
    duration = full[full.index("WER by duration") : full.index("WER by <code>room")]
    assert duration.index("&lt; 2 s") < duration.index("≥ 15 s")
    assert "n=20" in duration  # ten of each set
    assert "Pooled over all sets." in duration
    room = full[full.index("WER by <code>room") : full.index('id="differences"')]
    assert "Too thin for the chart" not in room  # the two tents make one of 18 words
    assert "n=20" in room
    page = render(comparison({"calm": THREE}, slices={"calm": SLICES}))
    assert "Too thin for the chart: tent." in page
    assert page.count('<span class="tag">thin</span>') == 1


def test_slices_in_which_sets_have_unlike_shares_are_told_apart() -> None:
    hall, car = SLICES[2:4]
    both = {"calm": THREE, "loud": THREE}
    page = render(comparison(both, slices={"calm": [hall, car], "loud": [car]}))
    assert "The sets are not spread evenly" in page
    assert page.count('<tr class="part') == 3
    page = render(comparison(both, slices={"calm": [hall, car], "loud": [hall, car]}))
    assert "The sets are not spread evenly" not in page


def test_fields_of_speakers_are_a_table_alone() -> None:
    slices = [SliceScore(field="speaker", value=f"s{n}", score=score_of(n)) for n in range(3)]
    page = render(comparison({"calm": THREE}, slices={"calm": slices}))
    assert "WER by <code>speaker" in page
    assert 'aria-labelledby="slice-' not in page


def test_ranges_without_speech_interrupt_the_line() -> None:
    ranges = ["< 10 dB", "20-30 dB", "≥ 30 dB"]
    slices = [SliceScore(field="snr", value=each, score=score_of(5)) for each in ranges]
    page = render(comparison({"calm": {"a": 10}}, slices={"calm": slices}))
    chart = page[page.index('aria-labelledby="slice-0-title"') :]
    [line] = re.findall(r'<path d="(M[^"]*)"[^>]*stroke-opacity: 0\.55', chart)
    assert line.count("L") == 1, "from the third range to the fourth"
    assert ">10-20 dB<" in chart
    assert ">n=0<" in chart
