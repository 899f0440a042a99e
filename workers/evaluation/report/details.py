"""The table of all further figures of each system on each set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from workers.evaluation.comparison.results import Comparison, SetResult
from workers.evaluation.report.keys import Key, Keys
from workers.evaluation.report.text import NONE, one_decimal, three_digits
from workers.evaluation.statistics.scores import EXCELLENT, GOOD, Score


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    title: str
    meaning: str
    cells: list[str]

    @property
    def says_something(self) -> bool:
        """Whether any cell has a value."""
        return any(each != NONE for each in self.cells)


@dataclass(frozen=True)
class Details:
    """A row for each set and system, its cells in the order of `columns`."""

    columns: list[Column]
    rows: dict[str, list[tuple[Key, list[str]]]]


def details_of(keys: Keys, comparison: Comparison) -> Details:
    """The table of a comparison, without columns that are uninformative."""
    columns = [each for each in _columns(comparison.results) if each.says_something]
    rows: dict[str, list[tuple[Key, list[str]]]] = {}
    for number, each in enumerate(comparison.results):
        cells = [column.cells[number] for column in columns]
        rows.setdefault(each.test_set, []).append((keys[each.system], cells))
    return Details(columns, rows)


def _columns(results: Sequence[SetResult]) -> list[Column]:
    def rate(title: str, meaning: str, value: Callable[[Score], float | None]) -> Column:
        return Column(title, meaning, [one_decimal(value(each.score)) for each in results])

    def count(title: str, meaning: str, value: Callable[[Score], int]) -> Column:
        """A column of counts; uninformative where all are 0."""
        counts = [value(each.score) for each in results]
        return Column(title, meaning, [str(n) for n in counts] if any(counts) else [])

    def speed(title: str, meaning: str, value: Callable[[SetResult], float | None]) -> Column:
        return Column(title, meaning, [three_digits(value(each)) for each in results])

    return [
        rate("WER, %", "word error rate, pooled", lambda s: s.wer),
        rate("CER, %", "character error rate, pooled", lambda s: s.cer),
        count("Subst.", "substituted words", lambda s: s.words.substitutions),
        count("Del.", "deleted words", lambda s: s.words.deletions),
        count("Ins.", "inserted words", lambda s: s.words.insertions),
        count("Words", "words of the references", lambda s: s.words.reference),
        rate("Mean", "mean of the utterances' WER, %", lambda s: s.mean_wer),
        rate("Median", "median of the utterances' WER, %", lambda s: s.median_wer),
        rate("SD", "standard deviation of the utterances' WER, points", lambda s: s.wer_std),
        rate(
            f"≤ {EXCELLENT:g}%",
            f"excellent: percent of the utterances with a WER of at most {EXCELLENT:g}%",
            lambda s: s.excellent_rate,
        ),
        rate(
            f"≤ {GOOD:g}%",
            f"good: percent of the utterances with a WER of at most {GOOD:g}%",
            lambda s: s.good_rate,
        ),
        speed("RTFx", "seconds of audio divided by seconds of processing", lambda r: r.rtfx),
        speed("Utt./s", "utterances a second", lambda r: r.samples_per_second),
        count("Failed", "utterances without an answer; all words count", lambda s: s.failed),
        count("Silent", "utterances in which nothing is said", lambda s: s.empty_references),
        count("Unscored", "utterances without a reference", lambda s: s.without_reference),
    ]
