from __future__ import annotations

import pytest

from workers.evaluation.statistics.slices import by_duration, by_field, by_snr, fields_of
from workers.manifests.speech import Utterance


def utterance(seconds: float = 1.0, snr: float | None = None, **fields: object) -> Utterance:
    measures = {} if snr is None else {"audio.snr_db": snr}
    return Utterance("a.wav", 0.0, seconds, "a", fields=fields, measures=measures)


def test_every_duration_is_in_one_range() -> None:
    found = by_duration([utterance(s) for s in (0.5, 1.99, 2.0, 4.0, 5.0, 15.0, 100.0)])
    assert {each.value: each.indices for each in found} == {
        "< 2 s": (0, 1),
        "2-5 s": (2, 3),
        "5-15 s": (4,),
        "≥ 15 s": (5, 6),
    }


def test_what_was_not_measured_is_in_no_range() -> None:
    found = by_snr([utterance(snr=-3), utterance(), utterance(snr=25)])
    assert {each.value: each.indices for each in found if each.indices} == {
        "< 10 dB": (0,),
        "20-30 dB": (2,),
    }


def test_a_field_has_a_slice_for_each_value_the_largest_first() -> None:
    found = by_field([utterance(place=p) for p in ("a", "b", "b", None)], "place")
    assert [(each.name, each.indices) for each in found] == [
        ("place: b", (1, 2)),
        ("place: a", (0,)),
    ]
    assert by_field([utterance()], "place") == []


@pytest.mark.parametrize("name", ["snr", "duration"])
def test_what_the_manifest_says_is_apart_from_what_was_measured(name: str) -> None:
    measures = {"audio.snr_db": 3.0}
    said = [Utterance("a.wav", 0.0, 1.0, "a", fields={name: "10"}, measures=measures)] * 2
    measured = {each.field for each in (*by_snr(said), *by_duration(said))}
    (found,) = by_field(said, name)
    assert (found.name, found.indices) == (f"{name} (manifest): 10", (0, 1))
    assert found.field not in measured
    assert name in measured


def test_too_many_values_are_no_way_to_look_at_a_set() -> None:
    many = [utterance(place=str(i), half=i % 2, same=1, list=[i]) for i in range(30)]
    with pytest.raises(ValueError, match="`place` has 30 values; at most 24 are allowed"):
        by_field(many, "place")
    assert list(fields_of(many)) == ["half"]
