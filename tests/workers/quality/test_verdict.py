"""What is said of models that stay, that get worse, and of audio that changes."""

from __future__ import annotations

from statistics import median

import pytest

from tests.workers.quality.simulated import observations
from workers.quality.series import in_series
from workers.quality.verdict import Cause, Comparison, Finding, Moved, Rules, Status, judge

HEALTHY = 2000


def only(found: list[Finding]) -> Finding:
    (finding,) = found
    return finding


def moved(comparison: Comparison, measure: str) -> Moved:
    return next(each for each in comparison.measures if each.measure == measure)


def records_until_found(seed: int, measure: str, **worse: float | bool) -> float:
    """From the change to when it is certain, in records."""
    references = measure == "wer"
    healthy = observations(seed, HEALTHY, references=references)
    after = observations(seed, 2500, references=references, start=HEALTHY, **worse)  # type: ignore[arg-type]
    finding = only(judge(in_series([*healthy, *after]), Rules()))
    found = moved(finding.comparisons[0], measure)
    if found.at is None or found.certain_after is None:
        return float("inf")
    assert finding.status is Status.WORSE
    assert finding.comparisons[0].cause is Cause.MODEL
    return found.at + found.certain_after - HEALTHY


def test_twenty_healthy_runs_raise_no_alarm() -> None:
    for seed in range(20):
        finding = only(judge(in_series(observations(seed, 2500)), Rules()))
        assert finding.status is Status.STABLE
        wer = moved(finding.comparisons[0], "wer")
        assert wer.low < 0 < wer.high
        assert wer.high - wer.low < 0.06, "stable says how stable"


def test_a_wer_of_12_instead_of_8_percent_is_found_within_500_records() -> None:
    found = [records_until_found(seed, "wer", wer=0.12, confidence=0.9) for seed in range(5)]
    assert median(found) <= 500
    assert max(found) <= 1500


def test_without_references_less_confidence_is_found_within_2000_records() -> None:
    found = [records_until_found(seed, "confidence", wer=0.12, confidence=0.9) for seed in range(5)]
    assert max(found) <= 2000


def test_texts_that_are_empty_more_often_are_found_without_references() -> None:
    assert records_until_found(3, "empty", empty=0.04) <= 1000


def test_worse_texts_of_noisier_audio_are_told_apart() -> None:
    noisy = observations(1, 2000, wer=0.16, confidence=0.86, snr_db=12, start=HEALTHY)
    finding = only(judge(in_series([*observations(1, HEALTHY), *noisy]), Rules()))
    assert finding.status is Status.WORSE
    assert finding.comparisons[0].cause is Cause.AUDIO
    assert moved(finding.comparisons[0], "snr_db").status is Status.CHANGED


def test_noisier_audio_that_a_model_copes_with_is_a_change_of_the_audio() -> None:
    noisy = observations(1, 2000, snr_db=12, start=HEALTHY)
    finding = only(judge(in_series([*observations(1, HEALTHY), *noisy]), Rules()))
    assert (finding.status, finding.comparisons[0].cause) == (Status.CHANGED, Cause.AUDIO)
    assert moved(finding.comparisons[0], "wer").status is Status.STABLE


def test_a_version_is_compared_with_the_one_before_it() -> None:
    worse = observations(1, 400, wer=0.16, version="2", start=HEALTHY)
    first, second = judge(in_series([*worse, *observations(1, HEALTHY)]), Rules())
    assert (first.version, first.status) == ("1", Status.STABLE)
    assert (second.version, second.status) == ("2", Status.WORSE)
    (comparison,) = second.comparisons
    assert (comparison.against, comparison.cause) == ("1", Cause.VERSION)
    assert moved(comparison, "wer").since == HEALTHY, "when its first record came"


def test_a_better_version_is_no_drift() -> None:
    better = observations(1, 2000, wer=0.04, confidence=0.95, version="2", start=HEALTHY)
    _, second = judge(in_series([*observations(1, HEALTHY), *better]), Rules())
    assert second.status is Status.BETTER


def test_a_change_that_is_certain_and_does_not_matter_is_stable() -> None:
    quieter = observations(1, 6000, snr_db=21.3, start=6000, references=False)
    series = in_series([*observations(1, 6000, references=False), *quieter])
    finding = only(judge(series, Rules()))
    assert finding.status is Status.STABLE
    assert moved(finding.comparisons[0], "snr_db").high < 0, "and yet it is certain"


def test_nothing_is_no_data_and_not_stable() -> None:
    (missing,) = judge([], Rules(), expected=["medical"])
    assert (missing.model, missing.status) == ("medical", Status.NO_DATA)
    few = only(judge(in_series(observations(1, 600)), Rules()))
    assert few.status is Status.NO_DATA
    assert few.why == "600 records; 1100 are needed"
    assert few.levels["wer"].records == 600


def test_a_model_that_fell_silent_is_no_data() -> None:
    series = in_series(observations(1, 3000))
    quiet = Rules(silent_s=3600, now=3000 + 7200)
    assert only(judge(series, quiet)).why == "it has written nothing of late"
    assert only(judge(series, Rules(silent_s=3600, now=3100))).status is Status.STABLE


@pytest.mark.parametrize("wrong", [{"reference": 120}, {"reference": 50}, {"error_rate": 0.0}])
def test_rules_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="has to be"):
        Rules(**wrong)  # type: ignore[arg-type]
