"""Whisper tiny.en: its texts and times are those of faster-whisper, batched across clips."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from schemas.failures import ErrorCode
from schemas.requests import ClipRequest
from serve_app.audio.clip import Clip
from serve_app.engines.base import Hypothesis, Rejection
from serve_app.engines.errors import EngineError
from serve_app.engines.identifying import check_identifies, identified
from serve_app.engines.load import check_engine
from serve_app.engines.results import checked_results, engine_name
from tests.asking import alike
from tests.serve_app.engines.faster_whisper.conftest import WhisperOf

if TYPE_CHECKING:
    from serve_app.engines.faster_whisper.engine import FasterWhisperEngine

pytestmark = pytest.mark.slow

#: What makes the reference decode as the engine does: one text for a window of 30 seconds.
ALIKE: dict[str, Any] = {
    "language": "en",
    "without_timestamps": True,
    "condition_on_previous_text": False,
    "temperature": 0,
}


@pytest.fixture(scope="module")
def reference(whisper_folder: Path) -> Any:
    from faster_whisper import WhisperModel

    return WhisperModel(str(whisper_folder), device="cpu", compute_type="float32", cpu_threads=2)


def said(reference: Any, clip: Clip, **options: Any) -> str:
    segments, _ = reference.transcribe(clip, **ALIKE, **{"beam_size": 1, **options})
    return " ".join(each.text.strip() for each in segments)


def words_of(reference: Any, clip: Clip) -> list[Any]:
    """The words of the reference, which hears what follows the last of them once more."""
    segments, _ = reference.transcribe(clip, **ALIKE, beam_size=1, word_timestamps=True)
    return [word for each in segments if each.seek == 0 for word in each.words]


@pytest.fixture(scope="module")
def engine(whisper_of: WhisperOf) -> FasterWhisperEngine:
    """It decodes as the reference is asked to, eight clips at a time."""
    settings = {"batch_seconds": 240.0, "phrases": []}
    return whisper_of(settings, compute_type="float32", beam_size=1, temperatures=[])


def hypotheses(results: list[Hypothesis | Rejection]) -> list[Hypothesis]:
    found = checked_results(results, len(results))
    assert all(isinstance(each, Hypothesis) for each in found)
    return [each for each in found if isinstance(each, Hypothesis)]


def test_texts_and_times_are_those_of_the_reference_alone_and_in_a_batch(
    engine: FasterWhisperEngine, reference: Any, speech: list[Clip]
) -> None:
    assert engine.batch_seconds == 240
    expected = [said(reference, clip) for clip in speech]
    assert all(expected)
    together = hypotheses(engine.transcribe(speech * 2))
    assert [each.text for each in together] == expected * 2
    assert all(each.words is None for each in together)
    assert all(0 < (each.confidence or 0) < 1 for each in together)
    off, count = 0, 0
    for clip, text in zip(speech, expected, strict=True):
        [alone] = hypotheses(engine.transcribe([clip], [ClipRequest(words=True)]))
        assert alone.text == text
        words = alone.words or []
        assert [word.word for word in words] == text.split()
        times = [time for word in words for time in (word.start, word.end)]
        assert times == sorted(times)
        assert times[-1] <= len(clip) / engine.sample_rate
        assert all(0 <= (word.confidence or 0) <= 1 for word in words)
        theirs = words_of(reference, clip) if len(words) < 15 else []
        for word, their in zip(words, theirs, strict=bool(theirs)):
            assert word.word == their.word.strip()
            count += 1
            off += abs(word.start - their.start) > 0.011 or abs(word.end - their.end) > 0.011
    assert count > 20
    assert off <= 0.1 * count  # the reference shortens some words at pauses


def test_a_beam_is_that_of_the_reference(
    whisper_of: WhisperOf, reference: Any, speech: list[Clip]
) -> None:
    engine = whisper_of(compute_type="float32", temperatures=[])
    short = speech[2:]
    found = hypotheses(engine.transcribe(short, alike(short, words=True)))
    expected = [said(reference, clip, beam_size=5) for clip in short]
    assert [each.text for each in found] == expected
    assert [len(each.words or ()) for each in found] == [len(text.split()) for text in expected]


def test_eight_bits_are_the_default_on_a_cpu(whisper_of: WhisperOf, speech: list[Clip]) -> None:
    engine = whisper_of({"confidence": False, "words": True}, beam_size=1)
    assert engine.device == "cpu"
    assert engine._model.compute_type == "int8_float32"
    [found] = hypotheses(engine.transcribe(speech[2:3]))
    assert "the package to" in found.text
    assert found.confidence is None
    assert [word.confidence for word in found.words or ()] == [None] * len(found.text.split())


def test_what_nobody_says_is_not_written(whisper_of: WhisperOf) -> None:
    engine = whisper_of(beam_size=1)
    check_engine(engine)
    assert engine_name(engine) == "faster-whisper"
    silence = np.zeros(3 * 16_000, np.float32)
    short = np.zeros(80, np.float32)
    broken = np.full(16_000, np.nan, np.float32)
    empty = np.zeros(0, np.float32)
    clips = [silence, empty, short, broken]
    results = engine.transcribe(clips, alike(clips, words=True))
    assert checked_results(results, 4) == results
    assert results[0] == Hypothesis(text="", words=[])
    assert isinstance(results[1], Rejection)
    assert results[1].code is ErrorCode.AUDIO_EMPTY
    assert isinstance(results[2], Hypothesis)
    assert isinstance(results[3], Rejection)
    assert results[3].code is ErrorCode.MODEL_REJECTED


def test_forty_seconds_are_heard_in_two_pieces(
    engine: FasterWhisperEngine, reference: Any, speech: list[Clip]
) -> None:
    from serve_app.engines.splitting import split_at_silences

    long = np.resize(np.concatenate(speech), 40 * 16_000)
    spans = split_at_silences(long, 16_000, 30.0)
    assert len(spans) == 2
    [found] = hypotheses(engine.transcribe([long], [ClipRequest(words=True)]))
    pieces = [said(reference, long[first:end]) for first, end in spans]
    assert found.text == " ".join(pieces)
    assert found.words is not None
    assert [word.word for word in found.words] == found.text.split()
    assert any(word.start > 30 for word in found.words)
    assert found.words[-1].end <= 40


def test_a_model_of_one_language_says_that_it_identifies_none(whisper_of: WhisperOf) -> None:
    with pytest.raises(EngineError, match="knows only English, so it identifies no languages"):
        check_identifies(whisper_of())


def test_a_model_of_several_languages_identifies_the_likeliest(
    whisper_of: WhisperOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Multilingual:
        is_multilingual = True

        def detect_language(self, features: Any) -> list[list[tuple[str, float]]]:
            assert features.shape == [2, 80, 3000], "padded, and cut, to 30 seconds"
            return [[("<|de|>", 0.75), ("<|en|>", 0.25)], [("<|yue|>", 0.5), ("<|zh|>", 0.25)]]

    engine = whisper_of()
    monkeypatch.setattr(engine, "_model", Multilingual())
    clips = [np.zeros(seconds * 16_000, np.float32) for seconds in (1, 40)]
    assert identified(engine, clips) == [("de", 0.75), ("yue", 0.5)]


def test_phrases_are_hotwords(whisper_of: WhisperOf, reference: Any, speech: list[Clip]) -> None:
    engine = whisper_of(
        {"phrases": ["Jane Doe"]}, compute_type="float32", beam_size=1, temperatures=[]
    )
    clips = [speech[0], *speech[2:]]
    phrases = ("bilirubin", "<|endoftext|>", "penicillin")
    requests = [ClipRequest(phrases=phrases), ClipRequest(), ClipRequest(phrases=("word " * 300,))]
    found = hypotheses(engine.transcribe(clips, requests))
    assert [each.phrases for each in found] == [2, None, 0]
    words = ["bilirubin, penicillin, Jane Doe", "Jane Doe", "Jane Doe"]
    expected = [
        said(reference, clip, hotwords=each) for clip, each in zip(clips, words, strict=True)
    ]
    assert [each.text for each in found] == expected
