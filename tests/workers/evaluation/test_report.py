from __future__ import annotations

import html
import re
import warnings
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest
from msgspec.structs import replace

from serve_app.wer import NORMALISER, ErrorCounts
from tests.workers.evaluation import scripted
from workers.evaluation.charts import COLOURS, MARKERS, Point, marker_path, speed_chart
from workers.evaluation.comparison import (
    Comparison,
    SetDifferences,
    SetInfo,
    SetResult,
    SliceScore,
    UtteranceRow,
    Worst,
    compare,
)
from workers.evaluation.intervals import Difference, Interval
from workers.evaluation.report import align, render, write_report
from workers.evaluation.scores import Score, pool, score_utterance
from workers.evaluation.systems import SystemInfo

NASTY = "<script>alert('x')</script> & \"co\""
VOID = {"meta", "link", "br", "hr", "img", "input"}


def score_of(errors: int, words: int = 100, utterances: int = 10) -> Score:
    return Score(
        utterances=utterances,
        words=ErrorCounts(substitutions=errors, reference=words),
        characters=ErrorCounts(substitutions=errors, reference=5 * words),
        wer=100 * errors / words,
        cer=20 * errors / words,
    )


def difference(a: str, b: str, wer: float, p: float) -> Difference:
    return Difference(a=a, b=b, wer=wer, low=wer - 2, high=wer + 3, p=p, p_adjusted=p)


def comparison(
    errors: Mapping[str, Mapping[str, int | None]],
    pairs: Mapping[str, Sequence[Difference]] | None = None,
    slices: Mapping[str, Sequence[SliceScore]] | None = None,
    *,
    worst: Sequence[Worst] = (),
    interval: bool = True,
    rtfx: float | None = 50.0,
) -> Comparison:
    """By set, then by system: how many of 100 words are wrong; None leaves a set unscored."""
    systems = list(dict.fromkeys(name for of_set in errors.values() for name in of_set))
    results = [
        SetResult(
            system=system,
            test_set=name,
            score=Score(without_reference=10) if wrong is None else score_of(wrong),
            interval=Interval(wrong - 1, wrong + 1) if interval and wrong is not None else None,
            rtfx=rtfx and rtfx + systems.index(system),
            samples_per_second=rtfx,
            slices=list((slices or {}).get(name, [])),
            worst=list(worst),
        )
        for name, of_set in errors.items()
        for system, wrong in of_set.items()
    ]
    return Comparison(
        made="2026-03-04T05:06:07+00:00",
        normaliser=NORMALISER,
        systems=[SystemInfo(name=name, type="function") for name in systems],
        gpu_memory_gb=dict.fromkeys(systems, 0.0),
        sets=[
            SetInfo(
                name=name,
                sha256="ab" * 32,
                utterances=10,
                seconds=90.0,
                left_out=0,
                drawn="speakers",
                blocks=9,
            )
            for name in errors
        ],
        results=results,
        differences=[
            SetDifferences(test_set=name, pairs=list((pairs or {}).get(name, [])))
            for name in errors
        ],
        utterances=[],
    )


def text_of(page: str) -> str:
    """What a reader sees, on one line."""
    body = re.sub(r"<(style|title)\b.*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def verdicts(page: str) -> list[str]:
    found = re.findall(r"<dd>(.*?)</dd></div>", page, flags=re.DOTALL)
    return [
        text_of(each).replace(" ,", ",").replace(" ;", ";").replace(" .", ".") for each in found
    ]


def best_cells(page: str) -> list[tuple[int, int]]:
    """Rows and columns of the main table that are marked."""
    table = re.search(r'<table class="heat">.*?</table>', page, flags=re.DOTALL)
    assert table is not None
    rows = re.findall(r"<tr>\n<th scope=\"row\">.*?</tr>", table[0], flags=re.DOTALL)
    return [
        (number, column)
        for number, row in enumerate(rows)
        for column, classes in enumerate(re.findall(r'<td class="([^"]*)"', row))
        if "best" in classes.split()
    ]


class Tags(HTMLParser):
    """Elements that are not closed in order, ids, and what is referred to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.names: set[str] = set()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "xlink:href", "aria-labelledby"):
                self.references.append(value or "")
            self.references += re.findall(r"url\(([^)]*)\)", value or "")

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


THIN = SliceScore(field="room", value="tent", score=score_of(1, words=9))
SLICES = [
    SliceScore(field="duration", value="≥ 15 s", score=score_of(9)),
    SliceScore(field="duration", value="< 2 s", score=score_of(5)),
    SliceScore(field="room", value="hall", score=score_of(7)),
    SliceScore(field="room", value="car", score=score_of(8)),
    THIN,
]
THREE = {"a": 30, "b": 10, "c": 12}
PAIRS = [
    difference("a", "b", 20.0, 0.001),
    difference("a", "c", 18.0, 0.001),
    difference("b", "c", -2.0, 0.4),
]


@pytest.fixture(scope="module")
def full() -> str:
    """Three systems on two sets, with all that a page can have."""
    worst = Worst(
        id="u1", duration=2.0, reference="one two three", hypothesis="one too", errors=2, wer=66.7
    )
    return render(
        comparison(
            {"calm": THREE, "loud": {"a": 40, "b": 41, "c": 60}},
            {"calm": PAIRS},
            {"calm": SLICES, "loud": SLICES},
            worst=[worst],
        )
    )


def test_the_page_needs_no_other_file(full: str) -> None:
    assert full.lstrip().startswith("<!DOCTYPE html>")
    assert not re.search(r"https?:|@import|//[a-z]", full)
    found = Tags(full)
    assert found.names.isdisjoint({"script", "link", "img", "iframe", "object"})
    assert found.references
    assert {each.lstrip("#") for each in found.references} <= set(found.ids)


def test_the_page_is_well_formed(full: str) -> None:
    found = Tags(full)
    assert found.wrong == []
    assert found.open == []
    assert len(found.ids) == len(set(found.ids))
    assert full.count("<svg viewBox") == 3  # speed, duration, room


def test_the_best_of_each_set_is_told_and_marked(full: str) -> None:
    calm, loud, overall = verdicts(full)
    assert calm == (
        "b has the lowest WER, 10.0% (9.0–11.0); better than a, but no difference from c is shown."
    )
    assert loud == "a has the lowest WER, 40.0% (39.0–41.0)."
    assert overall == "b has the lowest WER, 25.5%."
    assert best_cells(full) == [(0, 1), (1, 0), (1, 2)]


def test_a_best_one_that_beats_all_others() -> None:
    pairs = [*PAIRS[:2], difference("b", "c", -2.0, 0.04)]
    page = render(comparison({"calm": THREE}, {"calm": pairs}))
    assert verdicts(page) == ["b has the lowest WER, 10.0% (9.0–11.0); better than a and c."]


def test_two_may_share_the_lowest_wer() -> None:
    pairs = [
        difference("a", "b", 0.0, 1.0),
        difference("a", "c", -20.0, 0.001),
        difference("b", "c", -20.0, 0.2),
    ]
    page = render(comparison({"calm": {"a": 10, "b": 10, "c": 30}}, {"calm": pairs}))
    assert verdicts(page)[0].startswith("a and b share the lowest WER, 10.0%")
    assert verdicts(page)[0].endswith("no difference from c is shown.")
    assert best_cells(page) == [(0, 0), (1, 0)]


def test_differences_are_told_from_the_better_one(full: str) -> None:
    text = text_of(full)
    assert "b is better than a by 20.0 points (95%: 18.0 to 23.0)" in text
    assert "b or c : no difference shown, 2.0 points (95%: −1.0 to 4.0)" in text
    assert "2 of 3 pairs differ; 9 speakers drawn" in text
    assert "loud cannot be tested" in text


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


def test_names_and_texts_are_escaped_everywhere() -> None:
    worst = Worst(id=NASTY, duration=1.0, reference="<b>hi</b>", hypothesis="", errors=1, wer=100.0)
    pairs = {NASTY: [difference(NASTY, "$b$", -9.0, 0.001)]}
    slices = [SliceScore(field=NASTY, value=f"{NASTY} {n}", score=score_of(n)) for n in range(3)]
    errors = {NASTY: {NASTY: 1, "$b$": 10}, "other": {NASTY: 1, "$b$": 10}}
    page = render(comparison(errors, pairs, {NASTY: slices}, worst=[worst]))
    assert "<script" not in page
    assert "<b>" not in page
    assert Tags(page).wrong == []
    assert text_of(page).count(NASTY) > 10
    assert ">$b$</text>" in page  # in the chart, and no formula


def test_letters_that_no_own_font_has_do_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ">語</text>" in render(comparison({"calm": {"語": 1, "b": 2}}))


def test_errors_are_aligned_and_told_apart_by_elements(full: str) -> None:
    assert (
        '<p class="diff" dir="auto">one <span class="substitution"><del>two</del> <ins>too</ins>'
        "</span> <del>three</del></p>"
    ) in full


@pytest.mark.parametrize(
    ("reference", "hypothesis", "kinds"),
    [
        ("A b, c", "a b x c", ["equal", "insert", "equal"]),
        ("a b", "", ["delete"]),
        ("", "a b", ["insert"]),
        ("a b", "x y", ["substitute", "substitute"]),
        ("", "", []),
    ],
)
def test_alignments(reference: str, hypothesis: str, kinds: list[str]) -> None:
    pieces = align(reference, hypothesis)
    assert [each.kind for each in pieces] == kinds
    assert [w for each in pieces for w in each.spoken.split()] == reference.lower().replace(
        ",", ""
    ).split()
    assert [w for each in pieces for w in each.heard.split()] == hypothesis.split()


def test_a_failure_is_not_an_empty_answer() -> None:
    worst = Worst(id="u1", duration=1.0, reference="hi", hypothesis="", errors=1, wer=100.0)
    made = comparison({"calm": {"a": 1}}, worst=[worst])
    assert "the system failed" not in render(made)
    row = UtteranceRow(
        system="a",
        test_set="calm",
        id="u1",
        duration=1.0,
        speaker="",
        snr_db=None,
        bandwidth_hz=None,
        text="hi",
        pred_text=None,
        confidence=None,
        wer=100.0,
        errors=1,
        reference_words=1,
    )
    made.utterances.append(row)
    assert "the system failed" in render(made)


def test_one_system_on_one_set() -> None:
    page = render(comparison({"calm": {"a": 10}}))
    assert verdicts(page) == ["a has a WER of 10.0% (9.0–11.0)."]
    assert best_cells(page) == []
    assert "nothing to compare it with" in page
    assert "All sets" not in text_of(page)
    assert Tags(page).wrong == []


def test_a_set_without_references() -> None:
    page = render(comparison({"calm": {"a": None, "b": None}}, slices={"calm": [THIN]}))
    assert verdicts(page) == ["No words to compare with: nothing is scored."]
    assert best_cells(page) == []
    assert "not scored" in page
    text = text_of(page)
    assert "Unscored" in text
    assert "CER, %" not in text
    assert "nan" not in text


def test_without_intervals_and_speeds() -> None:
    page = render(comparison({"calm": {"a": 10, "b": 20}}, interval=False, rtfx=None))
    assert verdicts(page) == ["a has the lowest WER, 10.0%."]
    assert page.count("<small>no interval<") == 2
    assert "WER by speed" not in page
    assert '<th scope="col">RTFx</th>' not in page


def test_columns_without_news_are_left_out(full: str) -> None:
    assert '<th scope="col">Subst.</th>' in full
    assert '<th scope="col">Failed</th>' not in full
    made = comparison({"calm": THREE})
    made.results[0] = replace(made.results[0], score=replace(made.results[0].score, failed=3))
    assert '<th scope="col">Failed</th>' in render(made)


def test_few_speakers_are_a_caveat() -> None:
    made = comparison({"calm": THREE})
    assert "calm (9 speakers)" in text_of(render(made))
    made.sets[0] = replace(made.sets[0], blocks=500, left_out=2)
    text = text_of(render(made))
    assert "calm (9 speakers)" not in text
    assert "left out: calm (2)" in text


def test_the_overall_interval_draws_all_sets() -> None:
    made = comparison({"calm": {"a": 10}, "loud": {"a": 30}})
    for index in range(40):
        made.utterances.append(
            UtteranceRow(
                system="a",
                test_set="calm" if index < 20 else "loud",
                id=f"u{index}",
                duration=1.0,
                speaker=f"s{index}",
                snr_db=None,
                bandwidth_hz=None,
                text="",
                pred_text="",
                confidence=None,
                wer=None,
                errors=index % 5,
                reference_words=10,
            )
        )
    found = re.fullmatch(r"a has a WER of 20\.0% \((.*)–(.*)\)\.", verdicts(render(made))[-1])
    assert found is not None
    assert 12 < float(found[1]) < 20 < float(found[2]) < 28


def test_what_compare_finds_becomes_a_file(tmp_path: Path) -> None:
    manifest = scripted.write_set(tmp_path / "speech", room=lambda n: "hall" if n % 2 else "car")
    systems = [
        scripted.system("good"),
        scripted.system("bad", lambda clip: scripted.number_of(clip) % 2 == 1, scripted.half),
    ]
    made = compare(systems, [manifest])
    path = tmp_path / "report.html"
    write_report(made, path)
    page = path.read_text("utf-8")
    assert [each.name for each in tmp_path.iterdir() if each.name.endswith(".partial")] == []
    assert verdicts(page)[0].startswith("good has the lowest WER, 0.0%")
    assert "up to 30 errors" in page
    assert "WER by <code>room" in page
    assert page == render(made)


def test_the_same_comparison_gives_the_same_page(full: str) -> None:
    made = comparison({"calm": THREE}, {"calm": PAIRS}, {"calm": SLICES})
    assert render(made) == render(made)
    assert "2026-03-04 05:06 UTC" in full


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


def test_scores_of_real_texts_agree_with_their_alignment() -> None:
    pairs = [("the cat sat", "a cat sat down"), ("yes", ""), ("", "no")]
    for reference, hypothesis in pairs:
        errors = pool([score_utterance(reference, hypothesis)]).words.errors
        wrong = [each for each in align(reference, hypothesis) if each.kind != "equal"]
        assert sum(max(len(e.spoken.split()), len(e.heard.split())) for e in wrong) == errors
