from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.workers.evaluation import scripted
from workers.evaluation.comparison import Comparison, compare
from workers.evaluation.testset import read_test_set


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


def test_results_survive_a_file(found: Comparison, tmp_path: Path) -> None:
    found.save(tmp_path / "found.json")
    assert Comparison.load(tmp_path / "found.json") == found
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match=r"other\.json: is no Comparison"):
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
        (["a", "a"], None, "two test sets are called a"),
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
