from __future__ import annotations

from typing import Any

import msgspec
import pytest

from schemas.settings import RolloutSettings
from serve_app.rollout.evidence import Evidence, Heard, Observation
from serve_app.rollout.verdict import Verdict

RULES = RolloutSettings(min_blocks=30, sharpest_at=50)
SAID = "one two three four"
GOOD, BAD, WORSE = Heard(text=SAID), Heard(text="one two three"), Heard(text="one two")
NONE = Heard(text=None, failure="model_died")


def observed(number: int, **more: Any) -> Observation:
    return Observation(**{"record": f"r{number}", "block": f"b{number}", **more})


def evidence(count: int, **more: Any) -> Evidence:
    found = Evidence()
    for number in range(count):
        found.add(observed(number, **more), RULES)
    return found


@pytest.mark.parametrize(
    ("incumbent", "candidate", "verdict"),
    [
        (BAD, GOOD, Verdict.PROMOTE),
        (BAD, WORSE, Verdict.ROLL_BACK),
        (BAD, BAD, Verdict.HOLD),
    ],
)
def test_references_decide(incumbent: Heard, candidate: Heard, verdict: Verdict) -> None:
    heard = {"incumbent": incumbent, "candidate": candidate, "reference": SAID}
    assert evidence(29, **heard).findings(RULES).verdict is Verdict.HOLD
    assert evidence(30, **heard).findings(RULES).verdict is verdict


def test_the_figures_are_those_of_the_texts() -> None:
    found = evidence(40, incumbent=BAD, candidate=WORSE, reference=SAID).findings(RULES)
    assert (found.records, found.blocks, found.words) == (40, 40, 160)
    assert (found.incumbent_wer, found.candidate_wer) == (25.0, 50.0)
    assert found.wer_change == (25.0, 25.0)
    assert found.differing == pytest.approx(100 / 3, abs=0.01)
    assert found.failing == {"incumbent": 0.0, "candidate": 0.0}
    assert found.reason == "its WER is more than 5% above the incumbent's"


def test_a_record_counts_once_however_often_it_comes() -> None:
    found = evidence(40, incumbent=BAD, candidate=GOOD, reference=SAID)
    for number in range(40):  # a replay of the topic
        found.add(observed(number, incumbent=BAD, candidate=WORSE, reference=SAID), RULES)
    assert found == evidence(40, incumbent=BAD, candidate=GOOD, reference=SAID)


def test_the_records_of_a_block_are_one_observation() -> None:
    found = Evidence()
    for number in range(100):
        found.add(
            observed(number, block="call", incumbent=BAD, candidate=GOOD, reference=SAID), RULES
        )
    findings = found.findings(RULES)
    assert (findings.records, findings.blocks, findings.verdict) == (100, 1, Verdict.HOLD)
    assert (findings.words, findings.incumbent_wer) == (400, 25.0)


def test_without_references_nobody_is_better() -> None:
    found = evidence(100, incumbent=BAD, candidate=GOOD).findings(RULES)
    assert found.verdict is Verdict.HOLD
    assert found.reason == "there are no references to count errors against"
    assert found.incumbent_wer is None
    assert found.wer_change is None
    assert found.differing == pytest.approx(100 / 3, abs=0.01)


def test_the_end_of_the_budget_is_a_verdict_of_its_own() -> None:
    rules = msgspec.structs.replace(RULES, max_blocks=50)
    assert evidence(49, incumbent=GOOD, candidate=GOOD).findings(rules).verdict is Verdict.HOLD
    assert evidence(50, incumbent=GOOD, candidate=GOOD).findings(rules).verdict is (
        Verdict.INCONCLUSIVE
    )


def test_failures_in_a_row_end_it_at_once() -> None:
    found = evidence(4, candidate=NONE)
    assert found.findings(RULES).verdict is Verdict.HOLD
    found.add(observed(4, candidate=GOOD), RULES)
    for number in range(5, 10):
        assert found.findings(RULES).verdict is Verdict.HOLD
        found.add(observed(number, candidate=NONE), RULES)
    findings = found.findings(RULES)
    assert findings.verdict is Verdict.ROLL_BACK
    assert findings.reason == "5 failures in a row, the last one: model_died"


def test_an_outage_is_one_failure_with_all_its_clips() -> None:
    died = msgspec.structs.replace(NONE, outage="abc")
    assert evidence(20, candidate=died).in_a_row == 1
    assert evidence(20, incumbent=NONE, candidate=GOOD).in_a_row == 0  # the incumbent's


def test_failing_more_often_is_worse() -> None:
    found = evidence(60, incumbent=GOOD, candidate=GOOD)
    for number in range(60, 180):
        heard = NONE if number % 2 else GOOD  # never two in a row
        found.add(observed(number, incumbent=GOOD, candidate=heard), RULES)
    findings = found.findings(RULES)
    assert findings.verdict is Verdict.ROLL_BACK
    assert findings.reason == "more of its clips have no answer"
    assert findings.failing == {"incumbent": 0.0, "candidate": pytest.approx(33.33)}
    both = evidence(180, incumbent=NONE)
    for number in range(180, 360):
        heard = NONE if number % 2 else GOOD
        both.add(observed(number, candidate=heard), RULES)
    assert both.findings(RULES).verdict is Verdict.HOLD  # as often as the incumbent


def test_slow_answers_count_where_somebody_waits() -> None:
    slow = Heard(text=SAID, seconds=RULES.slow_s + 1)
    fast = Heard(text=SAID, seconds=RULES.slow_s - 1)
    found = evidence(60, incumbent=fast, candidate=slow).findings(RULES)
    assert found.verdict is Verdict.ROLL_BACK
    assert found.reason == "more of its answers take longer than 10 s"
    assert found.slow == {"incumbent": 0.0, "candidate": 100.0}
    assert evidence(60, incumbent=fast, candidate=fast).findings(RULES).verdict is Verdict.HOLD
    assert evidence(60, incumbent=GOOD, candidate=GOOD).findings(RULES).slow == {}  # bulk work


def test_failures_are_worse_than_fewer_errors() -> None:
    found = evidence(100, incumbent=BAD, candidate=GOOD, reference=SAID)
    assert found.findings(RULES).verdict is Verdict.PROMOTE
    for number in range(100, 500):
        heard = NONE if number % 2 else GOOD
        found.add(observed(number, incumbent=BAD, candidate=heard, reference=SAID), RULES)
    assert found.findings(RULES).verdict is Verdict.ROLL_BACK


def test_confidences_are_compared_on_the_same_clips() -> None:
    sure, unsure = Heard(text=SAID, confidence=0.9), Heard(text=SAID, confidence=0.6)
    assert evidence(10, incumbent=unsure, candidate=sure).findings(RULES).confidence_change == 0.3
    assert evidence(10, incumbent=GOOD, candidate=sure).findings(RULES).confidence_change is None


def test_it_can_be_stored_and_says_nothing_of_the_speech() -> None:
    found = evidence(200, incumbent=BAD, candidate=GOOD, reference=SAID)
    stored = msgspec.json.encode(found)
    assert b"one" not in stored
    again = msgspec.json.decode(stored, type=Evidence)
    assert again == found
    assert again.findings(RULES) == found.findings(RULES)
    again.add(observed(199, incumbent=BAD, candidate=GOOD, reference=SAID), RULES)
    assert again == found
    assert "one" not in repr(GOOD)
