from __future__ import annotations

from collections import Counter

import pytest

from schemas.manifest import ManifestRecord
from schemas.settings import BlockBy
from serve_app.rollout.arms import Arm, arm_of, block_of
from tests.serve_app.rollout.plans import plan


def record(name: str, path: str = "a.wav", speaker: object = None) -> ManifestRecord:
    extra = {} if speaker is None else {"speaker": speaker}
    return ManifestRecord(id=name, audio_filepath=path, extra=extra)


def arms(shadow: float, canary: float) -> Counter[Arm]:
    found = plan(shadow=shadow, canary=canary)
    return Counter(arm_of(found, f"block {number}") for number in range(20_000))


def test_the_shares_are_as_planned() -> None:
    found = arms(shadow=0.2, canary=0.1)
    assert found[Arm.SHADOW] == pytest.approx(4000, rel=0.1)
    assert found[Arm.CANARY] == pytest.approx(2000, rel=0.1)
    assert found[Arm.CONTROL] == 0  # the shadow shows what the incumbent does


def test_without_a_shadow_the_incumbent_is_observed_on_as_much_as_the_candidate() -> None:
    found = arms(shadow=0.0, canary=0.1)
    assert found[Arm.CONTROL] == pytest.approx(found[Arm.CANARY], rel=0.1)
    assert set(arms(shadow=0.0, canary=1.0)) == {Arm.CANARY}
    assert set(arms(shadow=1.0, canary=0.0)) == {Arm.SHADOW}


def test_a_block_stays_where_it_is_and_other_rollouts_draw_anew() -> None:
    one, other = plan(shadow=0.5), plan(number=2, shadow=0.5)
    blocks = [f"block {number}" for number in range(1000)]
    drawn = [arm_of(one, block) for block in blocks]
    assert drawn == [arm_of(one, block) for block in blocks]
    same = sum(arm_of(other, block) is arm for block, arm in zip(blocks, drawn, strict=True))
    assert 400 < same < 600


def test_a_greater_canary_keeps_those_that_are_in_it() -> None:
    small, large = plan(canary=0.1, shadow=0.0), plan(canary=0.3, shadow=0.0)
    for number in range(1000):
        if arm_of(small, f"block {number}") is Arm.CANARY:
            assert arm_of(large, f"block {number}") is Arm.CANARY


@pytest.mark.parametrize(
    ("block_by", "same"), [("recording", True), ("speaker", True), ("record", False)]
)
def test_a_block_is_a_recording_a_speaker_or_a_record(block_by: BlockBy, same: bool) -> None:
    first, second = record("r1", speaker=7), record("r2", speaker=7)
    assert (block_of(first, block_by) == block_of(second, block_by)) is same
    other = record("r3", "b.wav", speaker="8")
    assert block_of(first, block_by) != block_of(other, block_by)


def test_who_has_no_speaker_is_alone() -> None:
    assert block_of(record("r1"), "speaker") != block_of(record("r2"), "speaker")


def test_a_block_does_not_say_what_it_is_of() -> None:
    found = block_of(record("r1", "secret/person.wav", speaker="ann"), "speaker")
    assert "ann" not in found
    assert len(found) == 16
    assert block_of(record("\ud800", "\ud800.wav"), "recording")
