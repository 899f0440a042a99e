from __future__ import annotations

import msgspec
import numpy as np
import pytest

from schemas.settings import RolloutSettings
from serve_app.rollout.verdict import PairedErrors, Verdict

SETTINGS = RolloutSettings()


def run(
    incumbent: float, candidate: float, seed: int, settings: RolloutSettings = SETTINGS
) -> tuple[Verdict, int]:
    """The verdict on utterances of ten words with such WERs, and after how many."""
    rng = np.random.default_rng(seed)
    errors = PairedErrors()
    while True:
        first, second = rng.binomial(10, incumbent), rng.binomial(10, candidate)
        errors.add(int(first), int(second), 10, settings)
        if (verdict := errors.verdict(settings)) is not Verdict.HOLD:
            return verdict, errors.blocks


@pytest.mark.parametrize(
    ("candidate", "verdict"), [(0.12, Verdict.ROLL_BACK), (0.08, Verdict.PROMOTE)]
)
def test_a_fifth_more_or_less_errors_is_found(candidate: float, verdict: Verdict) -> None:
    found = [run(0.10, candidate, seed) for seed in range(40)]
    assert sum(each is verdict for each, _ in found) >= 38
    assert np.median([blocks for _, blocks in found]) < 2_000


def test_what_is_as_good_is_hardly_ever_judged() -> None:
    found = [run(0.10, 0.10, seed, RolloutSettings(max_blocks=2000))[0] for seed in range(60)]
    assert sum(each is not Verdict.INCONCLUSIVE for each in found) <= 3


def test_not_being_worse_can_be_enough() -> None:
    settings = RolloutSettings(promote_when="not_worse", max_worse=0.2)
    found = [run(0.10, 0.10, seed, settings)[0] for seed in range(40)]
    assert sum(each is Verdict.PROMOTE for each in found) >= 38


def test_no_verdict_before_there_is_enough() -> None:
    errors = PairedErrors()
    for _ in range(SETTINGS.min_blocks - 1):
        errors.add(0, 10, 10, SETTINGS)
    assert errors.verdict(SETTINGS) is Verdict.HOLD
    errors.add(0, 10, 10, SETTINGS)
    assert errors.verdict(SETTINGS) is Verdict.ROLL_BACK


def test_two_that_never_err_are_equal() -> None:
    errors = PairedErrors()
    for _ in range(SETTINGS.max_blocks):
        assert errors.verdict(SETTINGS) is Verdict.HOLD
        errors.add(0, 0, 10, SETTINGS)
    assert errors.verdict(SETTINGS) is Verdict.INCONCLUSIVE


def test_the_state_survives_a_restart() -> None:
    errors = PairedErrors()
    for number in range(150):
        errors.add(number % 3, number % 2, 10, SETTINGS)
    stored = msgspec.json.encode(errors)
    assert len(stored) < 300
    again = msgspec.json.decode(stored, type=PairedErrors)
    assert again == errors
    assert again.verdict(SETTINGS) is errors.verdict(SETTINGS)
    assert (again.words, again.incumbent, again.candidate) == (1500, 150, 75)
