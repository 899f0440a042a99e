from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.random import default_rng

from schemas.requests import ClipRequest
from schemas.transcript import Word
from serve_app.audio.clip import Clip
from serve_app.engines.base import Hypothesis, Rejection
from serve_app.routing.calibration import calibrated, read_calibration
from tests.workers.evaluation import scripted
from workers.evaluation.calibration.calibrate import (
    Labelled,
    best_combiner,
    calibrate,
    correct_words,
    expected_calibration_error,
    learn,
)
from workers.evaluation.systems.base import FunctionSystem
from workers.evaluation.testset import TestSet
from workers.manifests.speech import Utterance


def test_which_words_are_right() -> None:
    assert correct_words(["a", "b", "c"], ["a", "x", "c", "d"]) == [True, False, True, False]
    assert correct_words([], ["a"]) == [False]
    assert correct_words(["a"], []) == []


def test_the_error_of_confidences_that_are_true_is_small() -> None:
    rng = default_rng(1)
    sure = rng.uniform(0, 1, 20_000)
    right = rng.uniform(0, 1, 20_000) < sure
    assert expected_calibration_error(sure.tolist(), right.tolist()) < 0.02
    wrong = (rng.uniform(0, 1, 20_000) < 0.5).tolist()
    assert expected_calibration_error([0.9] * 20_000, wrong) == pytest.approx(0.4, abs=0.02)


def speech(count: int, bias: float, seed: int = 1) -> list[Labelled]:
    """Model "a" says `bias` too much of itself; "b" says nothing but wrong words, surely."""
    rng = default_rng(seed)
    made = []
    for number in range(count):
        reference = tuple(f"w{number}x{i}" for i in range(10))
        chances = rng.uniform(0.2, 0.95, 10)
        heard = [
            word if rng.random() < chance else "wrong"
            for word, chance in zip(reference, chances, strict=True)
        ]
        sure = np.clip(chances + bias, 0.01, 0.99).tolist()
        made.append(
            Labelled(
                reference,
                f"s{number % 10}",
                {"a": hypothesis(heard, sure), "b": hypothesis(noise(rng, reference), [0.97] * 10)},
            )
        )
    return made


def test_digits_are_right_for_a_number_that_is_spelled_in_the_reference() -> None:
    reference = ("in", "twenty", "five", "weeks")
    right = hypothesis(["In", "25", "weeks."], [0.9] * 3)
    wrong = hypothesis(["Inn", "26", "weaks."], [0.3] * 3)
    made = [Labelled(reference, f"s{n}", {"w": (right, wrong)[n % 2]}) for n in range(40)]
    learned = learn(made)["w"]
    assert calibrated([0.9] * 3, learned)[0] > 0.95  # two thirds, were "25" wrong
    assert calibrated([0.3] * 3, learned)[0] < 0.05


def noise(rng: np.random.Generator, reference: Sequence[str]) -> list[str]:
    return [word if rng.random() < 0.1 else f"n{rng.integers(50)}" for word in reference]


def hypothesis(words: Sequence[str], sure: Sequence[float]) -> Hypothesis:
    pairs = zip(words, sure, strict=True)
    spoken = [Word(word, i, i + 1, float(each)) for i, (word, each) in enumerate(pairs)]
    return Hypothesis(text=" ".join(words), confidence=float(np.mean(sure)), words=spoken)


def test_what_is_learned_holds_for_other_speech() -> None:
    learned = learn(speech(100, bias=0.3, seed=1))
    before: list[float] = []
    after: list[float] = []
    right: list[bool] = []
    for each in speech(100, bias=0.3, seed=2):
        for name, heard in each.heard.items():
            raw = [word.confidence or 0.0 for word in heard.words or []]
            before += raw
            after += calibrated(raw, learned[name])
            right += correct_words(each.reference, heard.text.split())
    assert expected_calibration_error(before, right) > 0.2
    assert expected_calibration_error(after, right) < 0.05


def test_the_vote_is_given_parameters_that_do_well() -> None:
    some = speech(60, bias=0.0)
    found = best_combiner(some, learn(some))
    assert found.method == "rover"


@pytest.mark.parametrize(
    ("sure", "words", "reason"),
    [
        (None, 10, "model a gives no confidences"),
        (0.9, 1, "model a: 1 of 1 words are right; calibration needs at least 30"),
    ],
)
def test_too_little_to_learn_from_is_told(sure: float | None, words: int, reason: str) -> None:
    text = [f"w{i}" for i in range(words)]
    spoken = [Word(word, 0, 1, sure) for word in text]
    heard = Hypothesis(text=" ".join(text), words=spoken)
    with pytest.raises(ValueError, match=reason):
        learn([Labelled(tuple(text), "s", {"a": heard})])


class Sure(FunctionSystem):
    """Half of its words are right, at random, and it is as sure of the wrong ones."""

    def __init__(self, name: str, chance: float, confidence: float) -> None:
        super().__init__(name, lambda clips: [])
        self._chance = chance
        self._confidence = confidence

    def transcribe(
        self, clips: Sequence[Clip], requests: Sequence[ClipRequest] = ()
    ) -> list[Hypothesis | Rejection]:
        results: list[Hypothesis | Rejection] = []
        for clip in clips:
            rng = default_rng(len(clip))
            spoken = scripted.text_of(scripted.number_of(clip)).split()
            heard = [word if rng.random() < self._chance else "wrong" for word in spoken]
            results.append(hypothesis(heard, [self._confidence] * len(heard)))
        return results


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"speaker": "anna", "text": "a"}, "all utterances are of one speaker"),
        ({}, "no utterance has a reference"),
    ],
)
def test_speech_that_nothing_can_be_learned_from_is_told_first(
    keys: dict[str, str], reason: str
) -> None:
    text = keys.get("text")
    utterances = [
        Utterance("a.wav", 0.0, 1.0, text or "", has_text=text is not None, fields=keys, id=id_)
        for id_ in "ab"
    ]
    system = Sure("never asked", 0.9, 0.6)
    with pytest.raises(ValueError, match=reason):
        calibrate([system], [TestSet("set", utterances, sha256="0")])


@pytest.mark.slow
def test_the_whole_way_from_a_manifest_to_a_file(tmp_path: Path) -> None:
    manifest = scripted.write_set(tmp_path / "speech", speaker=lambda n: f"s{n}")
    systems = [Sure("good", 0.9, 0.6), Sure("bad", 0.5, 0.99)]
    found = calibrate(systems, [manifest], folder=tmp_path / "work")
    assert found.utterances == 13
    assert found.figures["ece_before"] > 0.2
    assert found.figures["ece_after"] < 0.1
    # raw confidence trusts the bad one
    assert found.figures["wer_confidence_raw"] > 40
    assert found.figures["wer_confidence"] < 15
    low, high = (found.figures[f"wer_confidence_{end}"] for end in ("low", "high"))
    assert low <= found.figures["wer_confidence"] <= high
    path = tmp_path / "calibration.json"
    path.write_bytes(msgspec.json.encode(found))
    assert read_calibration(path) == found
