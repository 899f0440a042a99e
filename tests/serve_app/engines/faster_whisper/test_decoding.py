"""The guards, and what shares a batch, on a stand-in for CTranslate2's model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from schemas.failures import ErrorCode
from schemas.requests import ClipRequest
from serve_app.audio.clip import Clip
from serve_app.engines.base import Hypothesis, Rejection
from tests.serve_app.engines.faster_whisper.conftest import WhisperOf

#: What one attempt gives: text, mean log-probability, probability that nobody speaks.
Said = tuple[str, float, float]
LOOP = "and so on " * 40
GOOD: Said = ("hello there", -0.2, 0.1)


class StandIn:
    """Whisper, whose encoder passes on what it is given, and which says what a test tells it to.

    Args:
        say: from the number that a clip's samples are, and the temperature.
        language: of a clip, from that number.
        fits: most clips that fit its memory.
    """

    n_mels = 80

    def __init__(
        self,
        tokenizer: Any,
        say: Callable[[int, float], Said],
        language: Callable[[int], str] | None = None,
        fits: int = 100,
    ) -> None:
        self.tokenizer = tokenizer
        self.say, self.language, self.fits = say, language, fits
        self.is_multilingual = language is not None
        self.calls: list[tuple[list[int], list[str], float]] = []

    def encode(self, features: Any) -> Any:
        import ctranslate2

        array = np.array(features)
        if len(array) > self.fits:
            raise RuntimeError("CUDA failed with error out of memory")
        return ctranslate2.StorageView.from_array(np.ascontiguousarray(array[:, :1, :2]))

    def detect_language(self, encoded: Any) -> list[list[tuple[str, float]]]:
        assert self.language is not None
        return [[(f"<|{self.language(each)}|>", 0.9)] for each in numbers(encoded)]

    def generate(self, encoded: Any, prompts: Sequence[Sequence[int]], **how: Any) -> list[Any]:
        temperature = how.get("sampling_temperature", 0.0)
        clips = numbers(encoded)
        decode = self.tokenizer.decode
        texts = [decode(list(each), skip_special_tokens=False) for each in prompts]
        self.calls.append((clips, texts, temperature))
        assert len({len(each) for each in prompts}) == 1
        return [self._result(*self.say(each, temperature)) for each in clips]

    def _result(self, text: str, logprob: float, no_speech: float) -> Any:
        tokens = self.tokenizer.encode(" " + text, add_special_tokens=False).ids
        score = logprob * (len(tokens) + 1) / len(tokens)
        return SimpleNamespace(sequences_ids=[tokens], scores=[score], no_speech_prob=no_speech)


def numbers(encoded: Any) -> list[int]:
    return [round(float(each)) for each in np.array(encoded)[:, 0, 0]]


@pytest.fixture
def engine_with(
    whisper_of: WhisperOf, whisper_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Any, StandIn]]:
    import ctranslate2
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(str(whisper_folder / "tokenizer.json"))

    def make(
        say: Callable[[int, float], Said] = lambda number, temperature: GOOD,
        settings: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
        **of_model: Any,
    ) -> tuple[Any, StandIn]:
        model = StandIn(tokenizer, say, **of_model)
        monkeypatch.setattr(ctranslate2.models, "Whisper", lambda *_, **__: model)
        engine = whisper_of(settings, **(options or {}))
        monkeypatch.setattr(
            engine, "_extract", Numbered()
        )  # the first number of a "spectrogram" is the clip's
        return engine, model

    return make


class Numbered:
    nb_max_frames = 3000

    def __call__(self, clip: Clip) -> Any:
        return np.full((80, len(clip) // 160 + 1), clip[0], np.float32)


def clip(number: int, seconds: float = 1.0) -> Clip:
    return np.full(int(seconds * 16_000), number, np.float32)


def test_a_loop_is_decoded_again_at_higher_temperatures_and_alone(engine_with: Any) -> None:
    def say(number: int, temperature: float) -> Said:
        return (LOOP, -0.1, 0.1) if number == 1 and temperature < 0.4 else GOOD

    engine, model = engine_with(say)
    found = engine.transcribe([clip(0), clip(1), clip(2)])
    assert [each.text for each in found] == ["hello there"] * 3
    assert [(clips, temperature) for clips, _, temperature in model.calls] == [
        ([0, 1, 2], 0.0),
        ([1], 0.2),
        ([1], 0.4),
    ]
    assert found[0].confidence == pytest.approx(np.exp(-0.2), abs=1e-3)


def test_a_loop_at_each_temperature_is_never_published(engine_with: Any) -> None:
    engine, _ = engine_with(lambda number, temperature: (LOOP, -0.1, 0.1) if number else GOOD)
    good, bad = engine.transcribe([clip(0), clip(1)])
    assert isinstance(good, Hypothesis)
    assert isinstance(bad, Rejection)
    assert bad.code is ErrorCode.MODEL_REPEATS
    assert "repeats itself" in bad.message


def test_of_improbable_texts_the_most_probable_one_is_taken_before_any_loop(
    engine_with: Any,
) -> None:
    said = {0.0: (LOOP, -0.1, 0.1), 0.2: ("worse", -3.0, 0.1), 0.4: ("best", -1.5, 0.1)}
    engine, _ = engine_with(
        lambda number, temperature: said[temperature], options={"temperatures": [0.2, 0.4]}
    )
    [found] = engine.transcribe([clip(1)])
    assert found.text == "best"
    assert found.confidence == pytest.approx(np.exp(-1.5), abs=1e-3)


def test_where_nobody_speaks_an_improbable_text_is_dropped_without_another_attempt(
    engine_with: Any,
) -> None:
    said = {0: ("thank you", -1.2, 0.9), 1: ("thank you", -0.5, 0.9), 2: (LOOP, -1.2, 0.9)}
    engine, model = engine_with(lambda number, temperature: said[number])
    found = engine.transcribe([clip(0), clip(1), clip(2)])
    assert [each.text for each in found] == ["", "thank you", ""]
    assert [each.confidence for each in found][::2] == [None, None]
    assert len(model.calls) == 1


def test_each_clip_has_its_own_language_and_the_later_pieces_have_that_of_the_first(
    engine_with: Any,
) -> None:
    heard = iter(["de", "fr", "de"])  # of two pieces and of the clip that says nothing
    engine, model = engine_with(language=lambda number: next(heard))
    clips = [clip(1, 40.0), clip(2), clip(3), clip(4)]
    requests = [
        ClipRequest(),
        ClipRequest(language="es-MX"),
        ClipRequest(language="klingon"),
        ClipRequest(language="es"),
    ]
    assert [each.text for each in engine.transcribe(clips, requests)] == [
        "hello there hello there",
        *["hello there"] * 3,
    ]
    prompts: dict[str, list[int]] = {}
    for numbers, texts, _ in model.calls:
        for number, text in zip(numbers, texts, strict=True):
            prompts.setdefault(text, []).append(number)
    start = "<|startoftranscript|><|{}|><|transcribe|><|notimestamps|>"
    assert prompts == {start.format("de"): [1, 1, 3], start.format("es"): [2, 4]}


def test_a_clip_with_phrases_shares_no_prompt_with_one_without(engine_with: Any) -> None:
    engine, model = engine_with()
    requests = [ClipRequest(phrases=("bilirubin",)), ClipRequest(), ClipRequest()]
    found = engine.transcribe([clip(0), clip(1), clip(2)], requests)
    assert [each.phrases for each in found] == [1, None, None]
    assert [(clips, texts[0][:13]) for clips, texts, _ in model.calls] == [
        ([1, 2], "<|startoftran"),
        ([0], "<|startofprev"),
    ]


def test_a_batch_that_does_not_fit_is_halved_and_the_limit_stays(engine_with: Any) -> None:
    engine, model = engine_with(settings={"batch_seconds": 240.0}, fits=3)
    found = engine.transcribe([clip(number) for number in range(9)])
    assert len(found) == 9
    assert engine.batch_seconds == 60
    assert [clips for clips, _, _ in model.calls] == [[0, 1], [2, 3], [4, 5], [6, 7], [8]]


def test_a_model_of_other_languages_needs_one_that_it_knows(engine_with: Any) -> None:
    from serve_app.engines.errors import EngineError

    with pytest.raises(EngineError, match=r"options\.language: no language 'klingon'"):
        engine_with(options={"language": "klingon"}, language=lambda number: "en")
    for options in ({"language": "de"}, {"task": "translate"}):
        with pytest.raises(EngineError, match="knows only English"):
            engine_with(options=options)
