from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from tests.workers.evaluation import scripted
from workers.evaluation.comparison.compare import compare
from workers.evaluation.comparison.results import Comparison
from workers.evaluation.comparison.slices import slices_of
from workers.evaluation.statistics.intervals import REPLICATES
from workers.evaluation.testset import TestSet, read_test_set
from workers.manifests.speech import Utterance


@pytest.fixture
def found(manifest: Path) -> Comparison:
    """A perfect system, and one that gets every second word of the long utterances wrong."""
    bad = scripted.system("bad", lambda clip: len(clip) > 4 * scripted.RATE, scripted.half)
    return compare([scripted.system("good"), bad], [manifest], slice_by=["speaker"])


def test_the_table_has_the_tutorials_columns_and_ours(found: Comparison) -> None:
    frame = found.frame().set_index("model_name")
    tutorial = (
        "model_type domain real_time_factor samples_per_second gpu_memory_gb mean_wer "
        "excellent_ratio memory_per_sample"
    )
    assert set(tutorial.split()) <= set(frame.columns)
    assert frame.loc["good", "wer"] == 0
    assert frame.loc["good", "excellent_ratio"] == 1.0
    # half the words of six of thirteen utterances
    assert frame.loc["bad", "wer"] == pytest.approx(100 * 6 / 13 / 2, abs=0.01)
    assert frame.loc["bad", "substitutions"] == 6 * 30
    assert frame.loc["bad", "wer_low"] < frame.loc["bad", "wer"] < frame.loc["bad", "wer_high"]
    assert (frame["real_time_factor"] > 0).all()


def test_differences_slices_and_worst(found: Comparison) -> None:
    (pair,) = found.differences[0].pairs
    assert (pair.a, pair.b, pair.significant) == ("good", "bad", True)
    assert pair.wer == pytest.approx(-23.08, abs=0.01)
    bad = next(each for each in found.results if each.system == "bad")
    slices = {f"{each.field} {each.value}": each.score.wer for each in bad.slices}
    assert slices["duration < 2 s"] == 0
    assert slices["duration ≥ 15 s"] == 50
    assert {"speaker s0", "speaker s1"} < set(slices)
    assert len(bad.worst) == 6
    assert {each.errors for each in bad.worst} == {30}


def test_one_set_has_nothing_overall(found: Comparison) -> None:
    assert (found.overall, found.overall_differences) == ([], [])
    assert found.overall_frame().empty
    assert found.replicates == REPLICATES


def test_overall_the_sets_are_one_and_so_are_their_speakers(tmp_path: Path) -> None:
    # seven speakers in each set are too few to draw; both have s4, s5 and s6
    sets = [
        read_test_set(
            scripted.write_set(tmp_path / name, speaker=lambda n, first=first: f"s{first + n % 7}"),
            name,
        )
        for name, first in (("one", 0), ("other", 4))
    ]
    bad = scripted.system("bad", lambda clip: len(clip) > 4 * scripted.RATE, scripted.half)
    found = compare([scripted.system("good"), bad], sets)
    assert [(each.drawn, each.blocks) for each in found.sets] == [("utterances", 13)] * 2
    good, worse = found.overall
    assert (worse.drawn, worse.blocks) == ("speakers", 11)
    assert good.score.wer == 0
    assert (worse.score.utterances, worse.score.words.errors) == (26, 2 * 180)
    assert worse.score.wer is not None
    assert worse.score.wer == pytest.approx(100 * 6 / 13 / 2, abs=0.01)
    assert worse.interval is not None
    assert worse.interval.low < worse.score.wer < worse.interval.high
    speeds = [each.rtfx for each in found.results if each.system == "bad" and each.rtfx]
    assert worse.rtfx is not None
    assert min(speeds) <= worse.rtfx <= max(speeds)
    (pair,) = found.overall_differences
    assert (pair.a, pair.b, pair.significant) == ("good", "bad", True)
    assert pair.wer == pytest.approx(-worse.score.wer, abs=0.01)
    frame = found.overall_frame().set_index("model_name")
    assert frame.loc["bad", "wer"] == worse.score.wer
    assert frame.loc["bad", "wer_low"] == worse.interval.low
    assert set(frame.columns) < set(found.frame().columns)


def test_a_failure_is_told_from_a_wrong_text(manifest: Path) -> None:
    def spoil(words: list[str]) -> list[str]:
        if words[0] == "w12x0":  # the longest one: all that is heard with it fails, too
            raise RuntimeError
        return ["wrong"] * len(words)

    whole = read_test_set(manifest)
    short = TestSet("short", whole.utterances[:3], "digest")
    system = scripted.system("bad", lambda clip: True, spoil)
    wrong, failed = compare([system], [short, whole]).results
    assert [each.failed for each in wrong.worst] == [False] * 3
    assert [each.failed for each in failed.worst] == [True] * 10


def test_results_survive_a_file(found: Comparison, tmp_path: Path) -> None:
    found.save(tmp_path / "found.json")
    assert Comparison.load(tmp_path / "found.json") == found
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match=r"other\.json: not a saved Comparison"):
        Comparison.load(tmp_path / "other.json")


def test_every_utterance_has_its_row(found: Comparison) -> None:
    rows = found.utterance_frame()
    assert len(rows) == 26
    assert isinstance(rows, pd.DataFrame)
    assert rows.groupby("system")["errors"].sum().to_dict() == {"bad": 180, "good": 0}


def test_a_set_without_references_is_transcribed_and_not_scored(tmp_path: Path) -> None:
    manifest = scripted.write_set(tmp_path, text=None)
    one = compare([scripted.system()], [manifest])
    score = one.results[0].score
    assert (score.wer, score.utterances, score.without_reference) == (None, 0, 13)
    assert one.results[0].interval is None
    assert one.differences[0].pairs == []
    assert one.utterances[0].pred_text


@pytest.mark.parametrize(
    ("names", "slice_by", "reason"),
    [
        (["a", "a"], None, "two test sets have the same name: a"),
        ([], None, "no test set"),
        (["a"], ["typo"], "no utterance has the key typo"),
    ],
)
def test_what_cannot_be_compared_is_told(
    manifest: Path, names: list[str], slice_by: list[str] | None, reason: str
) -> None:
    sets = [read_test_set(manifest, name) for name in names]
    with pytest.raises(ValueError, match=reason):
        compare([scripted.system()], sets, slice_by=slice_by)


def spoken(name: str, **fields: object) -> TestSet:
    """Ten utterances that have the same `fields`."""
    return TestSet(name, [Utterance("a.wav", 0.0, 1.0, "a", fields=fields)] * 10, "digest")


def fields(sets: list[TestSet], slice_by: list[str] | None = None) -> list[list[str]]:
    """What each set is sliced by."""
    found = slices_of(sets, slice_by)
    return [list(dict.fromkeys(part.field for part in found[each.name])) for each in sets]


def test_a_key_that_differs_between_sets_slices_all_of_them() -> None:
    sets = [
        spoken("a", domain="law", of="a", lang="en"),
        spoken("b", domain="law", of="b", lang="en"),
        spoken("c", domain="health", of="c", lang="en"),
    ]
    # `of` is another name of the sets, `lang` is the same everywhere
    assert fields(sets) == [["duration", "domain"]] * 3
    assert fields(sets[1:]) == [["duration"]] * 2
    assert fields(sets[:1]) == [["duration"]]
    assert fields(sets, ["of"]) == [["duration", "of"]] * 3
    (law,) = (part for part in slices_of(sets, None)["a"] if part.field == "domain")
    assert (law.value, law.indices) == ("law", tuple(range(10)))


def test_a_key_called_as_a_measure_is_a_key() -> None:
    sets = [spoken("a", snr=10), spoken("b", snr=10)]
    assert fields(sets, ["snr"]) == [["duration", "snr (manifest)"]] * 2
    measured = [replace(each, measures={"audio.snr_db": 12.0}) for each in sets[0].utterances]
    assert fields([TestSet("a", measured, "digest")], ["snr"]) == [
        ["duration", "snr", "snr (manifest)"]
    ]


def test_a_key_that_differs_within_one_set_slices_the_others_too() -> None:
    both = [*spoken("", room="hall").utterances, *spoken("", room="car").utterances]
    mixed = TestSet("mixed", both, "digest")
    assert fields([mixed, spoken("plain", room="car")]) == [["duration", "room"]] * 2
    assert fields([mixed, spoken("bare")]) == [["duration", "room"], ["duration"]]


def test_a_key_with_too_many_values_over_the_sets_slices_none() -> None:
    sets = [spoken(str(number), place=str(number // 2)) for number in range(50)]
    assert fields(sets) == [["duration"]] * 50
    assert fields(sets[:48]) == [["duration", "place"]] * 48
