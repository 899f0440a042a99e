from __future__ import annotations

from pathlib import Path

from tests.workers.evaluation import scripted
from workers.evaluation.validation.results import Validation
from workers.evaluation.validation.stress import ALL
from workers.evaluation.validation.validate import validate


def test_slices_stay_where_they_are_empty(manifest: Path) -> None:
    found = validate(scripted.system(), manifest, stressed=0)
    slices = {each.name: each for each in found.findings.slices}
    assert {"short", "long", "noisy", "telephone", "speaker=s0", "speaker=s1"} <= set(slices)
    assert slices["short"].score.utterances == 4
    assert slices["telephone"].score.utterances == 0
    assert slices["telephone"].score.wer is None
    assert slices["telephone"].degradation is None
    assert found.findings.stresses == []


def test_speech_is_known_by_what_it_sounds_like(tmp_path: Path) -> None:
    manifest = scripted.write_set(tmp_path, speaker="s")
    found = validate(scripted.system(), manifest, stressed=0)
    assert next(e for e in found.findings.slices if e.name == "noisy").score.utterances == 0


def test_stress_is_measured_against_the_same_utterances(manifest: Path) -> None:
    half = scripted.system(errs=lambda clip: scripted.number_of(clip) % 2 == 0)
    found = validate(half, manifest, stressed=5)
    assert [each.name for each in found.findings.stresses] == [each.name for each in ALL]
    for each in found.findings.stresses:
        assert each.score.utterances == 5
        assert each.clean_wer == each.score.wer  # errs by length alone
        assert each.degradation == 0


def test_a_validation_survives_a_file(manifest: Path, tmp_path: Path) -> None:
    found = validate(scripted.system(), manifest, stressed=2)
    found.save(tmp_path / "found.json")
    assert Validation.load(tmp_path / "found.json") == found


def test_without_references_there_is_nothing_to_divide(tmp_path: Path) -> None:
    found = validate(scripted.system(), scripted.write_set(tmp_path, text=None))
    assert found.findings.score.wer is None
    assert found.findings.stresses == []
    assert found.recommendations == []
    assert found.passed


def test_finished_work_is_not_done_again(manifest: Path, tmp_path: Path) -> None:
    done: list[int] = []
    validate(scripted.system(), manifest, stressed=3, folder=tmp_path / "work")
    validate(
        scripted.system(),
        manifest,
        stressed=3,
        folder=tmp_path / "work",
        report=lambda name, now, total: done.append(now),
    )
    assert done == [13 + 3 * len(ALL)]
