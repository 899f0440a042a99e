from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.workers.evaluation import scripted
from tests.workers.evaluation.report.samples import (
    PAIRS,
    SLICES,
    THIN,
    THREE,
    Tags,
    best_cells,
    comparison,
    difference,
    score_of,
    text_of,
    verdicts,
    worst,
)
from workers.evaluation.comparison.compare import compare
from workers.evaluation.comparison.results import SliceScore
from workers.evaluation.report import render, write_report

NASTY = "<script>alert('x')</script> & \"co\""


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


def test_names_and_texts_are_escaped_everywhere() -> None:
    bad = worst(NASTY, "<b>hi</b>", "", 1)
    pairs = {NASTY: [difference(NASTY, "$b$", -9.0, 0.001)]}
    slices = [SliceScore(field=NASTY, value=f"{NASTY} {n}", score=score_of(n)) for n in range(3)]
    errors = {NASTY: {NASTY: 1, "$b$": 10}, "other": {NASTY: 1, "$b$": 10}}
    page = render(comparison(errors, pairs, {NASTY: slices}, bad=[bad]))
    assert "<script" not in page
    assert "<b>" not in page
    assert Tags(page).wrong == []
    assert text_of(page).count(NASTY) > 10
    assert ">$b$</text>" in page  # in the chart, and no formula


def test_letters_that_no_own_font_has_do_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ">語</text>" in render(comparison({"calm": {"語": 1, "b": 2}}))


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


def test_few_speakers_are_a_caveat() -> None:
    made = comparison({"calm": THREE})
    assert "calm (9 speakers)" in text_of(render(made))
    made.sets[0] = replace(made.sets[0], blocks=500, left_out=2)
    text = text_of(render(made))
    assert "calm (9 speakers)" not in text
    assert "left out: calm (2)" in text


def test_columns_without_news_are_left_out(full: str) -> None:
    assert '<th scope="col">Subst.</th>' in full
    assert '<th scope="col">Failed</th>' not in full
    made = comparison({"calm": THREE})
    made.results[0] = replace(made.results[0], score=replace(made.results[0].score, failed=3))
    assert '<th scope="col">Failed</th>' in render(made)


@pytest.mark.slow
def test_the_same_comparison_gives_the_same_page(full: str) -> None:
    made = comparison({"calm": THREE}, {"calm": PAIRS}, {"calm": SLICES})
    assert render(made) == render(made)
    assert "2026-03-04 05:06 UTC" in full


@pytest.mark.slow
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
    assert {each.name for each in tmp_path.iterdir()} == {"report.html", "speech"}
    assert verdicts(page)[0].startswith("good has the lowest WER, 0.0%")
    assert "up to 30 errors" in page
    assert "WER by <code>room" in page
    assert page == render(made)


def test_tables_that_are_too_wide_are_scrolled_by_themselves(full: str) -> None:
    tables = full.count("<table")
    assert tables > 5
    assert len(re.findall(r'<div class="scroll"[^>]* tabindex="0">\s*<table', full)) == tables


def test_long_names_are_broken_between_their_parts() -> None:
    page = render(comparison({"night_shift": {"pretrained:nvidia/parakeet-v3": 1, "b": 10}}))
    assert "<bdi>pretrained:<wbr>nvidia/<wbr>parakeet-v3</bdi>" in page
    assert "<bdi>night_<wbr>shift</bdi>" in page
