from __future__ import annotations

from pathlib import Path

import pytest

from schemas.settings import ValidationSettings
from tests.workers.evaluation import scripted
from workers.evaluation.systems.base import FunctionSystem
from workers.evaluation.validation.results import Validation
from workers.evaluation.validation.validate import validate


def run(manifest: Path, **asked: object) -> Validation:
    """A system that gets half the words of long speech wrong: 3.8% of all the words."""
    long = scripted.system(errs=lambda clip: len(clip) > 15 * scripted.RATE, spoil=scripted.half)
    thresholds = ValidationSettings(**asked)  # type: ignore[arg-type]
    return validate(long, manifest, thresholds=thresholds, stressed=0)


@pytest.mark.parametrize(
    ("asked", "passed"),
    [
        ({"max_wer": 4}, True),
        ({"max_wer": 3}, False),
        ({"max_cer": 5}, True),
        ({"max_cer": 0.1}, False),
        ({"max_failed": 0}, True),
        ({"min_rtfx": 1e-3}, True),
        ({"min_rtfx": 1e12}, False),
        ({"max_slice_wer": {"long": 51}}, True),
        ({"max_slice_wer": {"long": 49}}, False),
        ({"max_slice_wer": {"speaker=s0": 10}}, True),
        ({}, True),
    ],
)
def test_a_threshold_is_met_or_not(manifest: Path, asked: dict[str, object], passed: bool) -> None:
    found = run(manifest, **asked)
    assert found.passed is passed
    assert len(found.checks) == len(asked)


def test_what_the_set_cannot_show_is_not_passed(manifest: Path) -> None:
    found = run(manifest, max_slice_wer={"telephone": 50, "long": 60}, min_words=61)
    assert [each.passed for each in found.checks] == [False, False]
    assert found.checks[0].reason == "there is no such speech in the test set"
    assert found.checks[1].reason.startswith("60 words are too few to judge")


@pytest.mark.parametrize("key", ["max_slice_wer", "max_degradation"])
def test_a_name_that_there_is_not_is_told_before_anything_is_measured(
    manifest: Path, key: str
) -> None:
    heard: list[str] = []
    thresholds = ValidationSettings(**{key: {"typo": 1}})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=rf"validation\.{key}: unknown name typo; known are: "):
        validate(
            scripted.system(),
            manifest,
            thresholds=thresholds,
            stressed=0,
            report=lambda name, done, total: heard.append(name),
        )
    assert heard == []


@pytest.mark.parametrize(
    ("wrong", "asked", "failed"),
    [
        (False, {}, ["max_wer_increase"]),  # half of one of thirteen utterances: 3.8 points more
        (False, {"max_wer_increase": 4}, []),
        (True, {"max_wer_increase": 0}, []),
        (True, {"max_wer_increase": 0, "min_speed_ratio": 1e9}, ["min_speed_ratio"]),
    ],
)
def test_a_model_is_held_against_a_baseline(
    manifest: Path, wrong: bool, asked: dict[str, float], failed: list[str]
) -> None:
    def long(name: str, errs: bool) -> FunctionSystem:
        return scripted.system(
            name, errs=lambda clip: errs and len(clip) > 15 * scripted.RATE, spoil=scripted.half
        )

    thresholds = ValidationSettings(**{"max_wer_increase": 3.8, "min_speed_ratio": 1e-9, **asked})  # type: ignore[arg-type]
    found = validate(
        long("new", True),
        manifest,
        baseline=long("old", wrong),
        thresholds=thresholds,
        stressed=0,
    )
    assert [each.key for each in found.checks if not each.passed] == failed
    assert found.passed is (not failed)
    held = found.findings.baseline
    assert held is not None
    assert held.name == "old"
    assert held.increase == pytest.approx(0 if wrong else 3.846, abs=1e-3)
    assert held.speed_ratio is not None


def test_without_a_baseline_nothing_is_held_against_it(manifest: Path) -> None:
    found = validate(scripted.system(), manifest, stressed=0)
    assert found.checks == []
    assert found.findings.baseline is None


@pytest.mark.slow
def test_stress_is_held_against_its_limit(manifest: Path) -> None:
    deaf = scripted.system(errs=lambda clip: float(clip.min()) < -0.9)
    limits = {"noise at 5 dB": 5.0, "telephone band": 5.0}
    asked = ValidationSettings(max_degradation=limits)
    fine = validate(scripted.system("fine"), manifest, thresholds=asked)
    assert fine.passed
    assert [each.value for each in fine.checks] == [0.0, 0.0]
    noisy = validate(deaf, manifest, thresholds=asked)
    assert not noisy.checks[0].passed
