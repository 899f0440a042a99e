from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.calibration import Calibration, ModelCalibration
from schemas.settings import Combiner
from serve_app.routing.calibration import calibrated, logit, read_calibration


def learned(bias: float = 0.0, word: float = 1.0, utterance: float = 0.0) -> ModelCalibration:
    return ModelCalibration(bias=bias, word=word, utterance=utterance, words=1000)


def test_without_a_calibration_confidences_stay_raw() -> None:
    assert calibrated([0.0, 0.3, 1.0], None) == [0.0, 0.3, 1.0]


def test_no_words_have_no_confidences() -> None:
    assert calibrated([], learned()) == []


def test_the_logit_is_that_of_the_word_and_of_the_utterance() -> None:
    # logits are log 4 and log 1; their mean is log 2
    sure = calibrated([0.8, 0.5], learned(bias=-0.5, word=2.0, utterance=3.0))
    odds = [math.exp(-0.5) * 4**2 * 2**3, math.exp(-0.5) * 1 * 2**3]
    assert sure == pytest.approx([each / (1 + each) for each in odds])


def test_each_parameter_alone_does_its_part() -> None:
    assert calibrated([0.2, 0.9], learned(bias=math.log(3), word=0.0)) == pytest.approx([0.75] * 2)
    assert calibrated([0.2, 0.9], learned()) == pytest.approx([0.2, 0.9])
    assert calibrated([0.8, 0.5], learned(word=0.0, utterance=1.0)) == pytest.approx([2 / 3] * 2)


def test_a_word_among_doubtful_ones_is_doubtful_itself() -> None:
    model = learned(utterance=0.5)
    assert calibrated([0.9, 0.1], model)[0] < calibrated([0.9, 0.9], model)[0]


def test_no_and_full_confidence_have_finite_logits() -> None:
    assert logit(1.0) == pytest.approx(math.log(9999))
    assert logit(0.0) == pytest.approx(-math.log(9999))
    assert logit(0.5) == 0.0
    assert calibrated([0.0, 1.0], learned()) == pytest.approx([1e-4, 1 - 1e-4])


@pytest.mark.parametrize("word", [1e3, 1e300, -1e300])
def test_any_calibration_makes_a_probability(word: float) -> None:
    low, high = calibrated([0.0, 1.0], learned(word=word))
    assert {low, high} == {0.0, 1.0}


probabilities = st.floats(0.0, 1.0)


@given(
    st.lists(probabilities, min_size=2, max_size=8),
    st.floats(-5, 5),
    st.floats(0, 5),
    st.floats(-5, 5),
)
def test_a_surer_word_stays_as_sure_or_surer(
    raw: list[float], bias: float, word: float, utterance: float
) -> None:
    sure = calibrated(raw, learned(bias, word, utterance))
    assert all(0 <= each <= 1 for each in sure)
    ordered = [each for _, each in sorted(zip(raw, sure, strict=True))]
    assert ordered == sorted(sure)


def whole() -> Calibration:
    return Calibration(
        made="2024-05-01T12:00:00+00:00",
        normaliser="chorus-1",
        utterances=200,
        models={"general": learned(-0.25, 0.5, 0.125), "medical": learned()},
        sha256={"general": "0" * 64, "medical": "1" * 64},
        combiner=Combiner(alpha=0.25, power=5.0),
        figures={"ece": 0.02},
    )


def test_a_calibration_comes_back_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_bytes(msgspec.json.encode(whole()))
    assert read_calibration(path) == whole()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "truncated"),
        (b"not json", "malformed"),
        (b'{"made": "\xff"}', "utf-8"),
        (b"[]", "Expected `object`"),
        (b"{}", "missing required field `made`"),
        (msgspec.json.encode(whole()).replace(b'"bias":-0.25', b'"bias":"x"'), r"models.*\.bias"),
        (msgspec.json.encode(whole()).replace(b'"bias":-0.25,', b""), "field `bias`"),
    ],
)
def test_a_file_that_is_no_calibration_is_refused_by_name(
    tmp_path: Path, content: bytes, said: str
) -> None:
    path = tmp_path / "calibration.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"calibration\.json: not a valid calibration: .*{said}"):
        read_calibration(path)


def test_a_file_that_is_not_there_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"missing\.json"):
        read_calibration(tmp_path / "missing.json")
