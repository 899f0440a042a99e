from __future__ import annotations

from pathlib import Path

import pytest

from schemas.settings import ValidationSettings
from tests.workers.evaluation import scripted
from workers.evaluation.validation import Validation, validate


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
def test_a_threshold_is_met_or_not(manifest: Path, asked: dict, passed: bool) -> None:
    found = run(manifest, **asked)
    assert found.passed is passed
    assert len(found.checks) == len(asked)


def test_what_the_set_cannot_show_is_not_passed(manifest: Path) -> None:
    found = run(manifest, max_slice_wer={"telephone": 50, "long": 60}, min_words=61)
    assert [each.passed for each in found.checks] == [False, False]
    assert found.checks[0].reason == "there is no such speech in the test set"
    assert found.checks[1].reason.startswith("60 words are too few to judge by")


@pytest.mark.parametrize("key", ["max_slice_wer", "max_degradation"])
def test_a_name_that_there_is_not_is_an_error(manifest: Path, key: str) -> None:
    with pytest.raises(ValueError, match=rf"validation\.{key}: there is no typo; there are: "):
        run(manifest, **{key: {"typo": 1}})


def test_stress_is_held_against_its_limit(manifest: Path) -> None:
    deaf = scripted.system(errs=lambda clip: float(clip.min()) < -0.9)
    limits = {"noise at 5 dB": 5.0, "telephone band": 5.0}
    asked = ValidationSettings(max_degradation=limits)
    fine = validate(scripted.system("fine"), manifest, thresholds=asked)
    assert fine.passed
    assert [each.value for each in fine.checks] == [0.0, 0.0]
    noisy = validate(deaf, manifest, thresholds=asked)
    assert not noisy.checks[0].passed
