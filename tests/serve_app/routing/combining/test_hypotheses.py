from __future__ import annotations

import pytest

from schemas.calibration import ModelCalibration
from schemas.transcript import Word
from serve_app.engines.base import Hypothesis
from serve_app.routing.calibration import calibrated
from serve_app.routing.combining.hypotheses import candidate

LEARNED = ModelCalibration(bias=-1.0, word=0.5, utterance=0.25, words=1000)


def test_words_are_kept_as_spelt_and_compared_normalised() -> None:
    words = [Word("Don’t", 0.1, 0.4, 0.9), Word("PANIC!", 0.5, 1.0, 0.7)]
    found = candidate("a", Hypothesis(text="Don’t PANIC!", confidence=0.8, words=words))
    assert (found.model, found.text) == ("a", "Don’t PANIC!")
    assert found.words == tuple(words)
    assert found.keys == ("don't", "panic")
    assert found.confidences == (0.9, 0.7)
    assert found.confidence == pytest.approx(0.8)


def test_a_word_that_is_normalised_to_several_stays_one() -> None:
    assert candidate("a", Hypothesis(text="follow-up now")).keys == ("follow up", "now")


def test_words_of_nothing_but_punctuation_are_left_out() -> None:
    words = [Word("--", 0.0, 0.1, 0.2), Word("yes", 0.1, 0.4, 0.9), Word("?", 0.4, 0.5, 0.1)]
    found = candidate("a", Hypothesis(text="-- yes ?", words=words))
    assert found.text == "-- yes ?"
    assert found.words == (words[1],)
    assert found.keys == ("yes",)
    assert found.confidences == (0.9,)
    assert found.confidence == 0.9


def test_without_words_the_text_is_split_and_every_word_as_sure_as_the_whole() -> None:
    found = candidate("a", Hypothesis(text="one two", confidence=0.6))
    assert found.words == (Word("one", 0.0, 0.0, 0.6), Word("two", 0.0, 0.0, 0.6))
    assert found.confidences == (0.6, 0.6)


def test_words_without_confidences_are_as_sure_as_the_whole() -> None:
    words = [Word("one", 0.0, 0.5), Word("two", 0.5, 1.0)]
    found = candidate("a", Hypothesis(text="one two", confidence=0.6, words=words))
    assert found.confidences == (0.6, 0.6)


def test_without_any_confidence_it_is_sure_and_not_calibrated() -> None:
    words = [Word("one", 0.0, 0.5), Word("two", 0.5, 1.0)]
    for heard in (Hypothesis(text="one two"), Hypothesis(text="one two", words=words)):
        assert candidate("a", heard, LEARNED).confidences == (1.0, 1.0)


def test_confidences_are_calibrated() -> None:
    words = [Word("one", 0.0, 0.5, 0.9), Word("two", 0.5, 1.0, 0.4)]
    found = candidate("a", Hypothesis(text="one two", words=words), LEARNED)
    assert found.confidences == tuple(calibrated([0.9, 0.4], LEARNED))
    assert found.confidences != (0.9, 0.4)
    assert found.words == tuple(words)


@pytest.mark.parametrize("text", ["", "  ", "?!"])
def test_silence_is_never_sure(text: str) -> None:
    found = candidate("a", Hypothesis(text=text, confidence=0.9))
    assert (found.words, found.keys, found.confidences) == ((), (), ())
    assert found.confidence == 0.0
