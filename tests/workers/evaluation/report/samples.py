"""Made-up comparisons, and ways to look at the page that comes of them."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser

from serve_app.scoring.wer import NORMALISER, ErrorCounts
from workers.evaluation.comparison.results import (
    Comparison,
    OverallResult,
    SetDifferences,
    SetInfo,
    SetResult,
    SliceScore,
    UtteranceRow,
    Worst,
)
from workers.evaluation.statistics.intervals import Difference, Interval
from workers.evaluation.statistics.scores import Score
from workers.evaluation.systems.base import SystemInfo

VOID = {"meta", "link", "br", "hr", "img", "input", "wbr"}


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


def worst(
    name: str = "u1",
    reference: str = "one two three",
    hypothesis: str = "one too",
    errors: int = 2,
    *,
    failed: bool = False,
) -> Worst:
    return Worst(
        id=name,
        duration=2.0,
        reference=reference,
        hypothesis=hypothesis,
        errors=errors,
        wer=100.0,
        failed=failed,
    )


def comparison(
    errors: Mapping[str, Mapping[str, int | None]],
    pairs: Mapping[str, Sequence[Difference]] | None = None,
    slices: Mapping[str, Sequence[SliceScore]] | None = None,
    overall_pairs: Sequence[Difference] = (),
    *,
    bad: Sequence[Worst] = (),
    interval: bool = True,
    rtfx: float | None = 50.0,
) -> Comparison:
    """By set, then by system: how many of 100 words are wrong; None leaves a set unscored.

    Args:
        bad: the worst utterances of each system on each set.
    """
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
            worst=list(bad),
        )
        for name, of_set in errors.items()
        for system, wrong in of_set.items()
    ]
    overall = []
    for system in systems:
        wrong = [found for each in errors.values() if (found := each[system]) is not None]
        overall.append(
            OverallResult(
                system=system,
                score=score_of(sum(wrong), 100 * len(wrong)) if wrong else Score(),
                interval=Interval(0.0, 99.0) if interval and wrong else None,
                rtfx=rtfx,
                drawn="speakers",
                blocks=15,
            )
        )
    return Comparison(
        made="2026-03-04T05:06:07+00:00",
        normaliser=NORMALISER,
        replicates=1234,
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
        overall=overall if len(errors) > 1 else [],
        overall_differences=list(overall_pairs),
        utterances=[],
    )


def text_of(page: str) -> str:
    """What a reader sees, on one line."""
    body = re.sub(r"<(style|title)\b.*?</\1>|<wbr>", "", page, flags=re.DOTALL)
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


def spoken(system: str, number: int, duration: float, errors: int, words: int = 20) -> UtteranceRow:
    """How a system did on the utterance `number` of the set "calm"."""
    return UtteranceRow(
        system=system,
        test_set="calm",
        id=f"u{number}",
        duration=duration,
        speaker="",
        snr_db=None,
        bandwidth_hz=None,
        text="",
        pred_text="",
        confidence=None,
        wer=100 * errors / words,
        errors=errors,
        reference_words=words,
    )


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
