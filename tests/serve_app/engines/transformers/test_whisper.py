"""Whisper: languages, guards, and word times that leave the attention as it was."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from schemas.requests import ClipRequest
from serve_app.engines.base import Hypothesis, Rejection
from serve_app.engines.errors import EngineError
from serve_app.engines.identifying import check_identifies
from serve_app.engines.repetition import compression_ratio
from serve_app.engines.transformers.alignment import token_frames
from serve_app.engines.transformers.whisper import WhisperHead
from tests.serve_app.engines.transformers.conftest import EngineOf, FolderOf
from tests.serve_app.engines.transformers.test_engine import CLIPS, UNGUARDED, hypotheses
from tests.serve_app.engines.transformers.tiny_models import LANGUAGES, RATE, speech

pytestmark = pytest.mark.slow  # imports Transformers and runs its models


def library(folder_of: FolderOf) -> tuple[Any, Any, Any]:
    folder = folder_of("whisper")
    return (
        transformers.WhisperForConditionalGeneration.from_pretrained(folder).eval(),
        transformers.WhisperFeatureExtractor.from_pretrained(folder),
        transformers.WhisperTokenizer.from_pretrained(folder),
    )


def test_the_language_is_the_records_or_the_settings_or_what_is_heard(
    engine_of: EngineOf, folder_of: FolderOf
) -> None:
    model, features, tokenizer = library(folder_of)

    def expected(index: int, language: str | None) -> str:
        inputs = features(CLIPS[index], sampling_rate=RATE, return_tensors="pt").input_features
        written = model.generate(inputs, language=language, task="transcribe")
        return str(tokenizer.batch_decode(written, skip_special_tokens=True)[0]).strip()

    languages = ["fr-CA", None, "xx", "EN"]
    requests = [ClipRequest(language=each) for each in languages]
    heard = hypotheses(engine_of("whisper", options=UNGUARDED).transcribe(CLIPS[:4], requests))
    assert [each.text for each in heard] == [
        expected(0, "fr"),
        expected(1, None),
        expected(2, None),
        expected(3, "en"),
    ]
    engine = engine_of("whisper", options=UNGUARDED | {"language": "de"})
    heard = hypotheses(engine.transcribe(CLIPS[:4], requests))
    assert [each.text for each in heard] == [
        expected(0, "fr"),
        expected(1, "de"),
        expected(2, "de"),
        expected(3, "en"),
    ]
    assert expected(0, "fr") != expected(0, "en")


def test_languages_are_identified_as_the_library_does(
    engine_of: EngineOf, folder_of: FolderOf
) -> None:
    model, features, tokenizer = library(folder_of)
    clips = [*CLIPS, *(speech(seconds, seed) for seed, seconds in enumerate((2.0, 31.0), 50))]
    found = engine_of("whisper").identify_languages(clips)
    inputs = features(clips, sampling_rate=RATE, return_tensors="pt").input_features
    tokens = [f"<|{each.code}|>" for each in found]
    assert tokens == tokenizer.convert_ids_to_tokens(model.detect_language(inputs).tolist())
    assert len(set(tokens)) > 1
    with torch.inference_mode():
        start = torch.full((len(clips), 1), model.config.decoder_start_token_id)
        logits = model(inputs, decoder_input_ids=start).logits[:, 0]
    numbers = tokenizer.convert_tokens_to_ids([f"<|{each}|>" for each in LANGUAGES])
    wanted = logits[:, numbers].softmax(-1).max(-1).values.tolist()
    assert [each.probability for each in found] == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("kind", ["english", "wav2vec2"])
def test_a_model_of_one_language_says_that_it_identifies_none(
    engine_of: EngineOf, kind: str
) -> None:
    with pytest.raises(EngineError, match="identifies no"):
        check_identifies(engine_of(kind))


def test_translations_are_those_of_the_library(engine_of: EngineOf, folder_of: FolderOf) -> None:
    model, features, tokenizer = library(folder_of)
    inputs = features(CLIPS[0], sampling_rate=RATE, return_tensors="pt").input_features
    written = model.generate(inputs, language="de", task="translate")
    engine = engine_of("whisper", options=UNGUARDED | {"task": "translate", "language": "de"})
    [heard] = hypotheses(engine.transcribe(CLIPS[:1]))
    assert heard.text == tokenizer.batch_decode(written, skip_special_tokens=True)[0].strip()


def test_scores_and_silence_are_those_of_the_library(
    engine_of: EngineOf, folder_of: FolderOf
) -> None:
    model, features, tokenizer = library(folder_of)
    inputs = features(CLIPS[0], sampling_rate=RATE, return_tensors="pt").input_features
    found = model.generate(
        inputs,
        language="de",
        task="transcribe",
        return_dict_in_generate=True,
        output_scores=True,
        force_unique_generate_call=True,
    )
    tokens = found.sequences[0, -len(found.scores) :]
    scores = torch.stack(found.scores)[:, 0].log_softmax(-1).gather(-1, tokens[:, None])[:, 0]
    head = engine_of("whisper", options=UNGUARDED)._head
    assert isinstance(head, WhisperHead)
    with torch.inference_mode():
        states = model.model.encoder(inputs).last_hidden_state
        start = model(
            encoder_outputs=(states,),
            decoder_input_ids=torch.tensor([[model.config.decoder_start_token_id]]),
        ).logits[0, 0]
        [written] = head._decoder.write(states, [head._tokens.prompt("de", "transcribe")])
        heard = head._decoder.hear(states)[0]
    assert written.tokens == [each for each in tokens.tolist() if each != head._tokens.end]
    assert written.logprobs == pytest.approx(scores.tolist(), abs=1e-4)
    silent = tokenizer.convert_tokens_to_ids("<|nospeech|>")
    assert float(heard[silent]) == pytest.approx(float(start.softmax(-1)[silent]), abs=1e-5)


def test_word_times_leave_the_attention_as_it_was(engine_of: EngineOf) -> None:
    engine = engine_of("whisper", options=UNGUARDED)
    assert isinstance(engine._head, WhisperHead)
    model = engine._head._loaded.model
    parts = (model.config, model.model.encoder.config, model.model.decoder.config)
    before = [each._attn_implementation for each in parts]
    assert before == ["sdpa"] * 3
    engine.transcribe(CLIPS[:1], [ClipRequest(words=True)])
    assert [each._attn_implementation for each in parts] == before


def test_tokens_begin_where_the_attention_of_the_token_before_them_is() -> None:
    frames, begins = 60, [4, 20, 33, 50]  # three tokens, and the end of the text
    attention = torch.full((1, 2, 5, 80), 1e-4)  # of two tokens of the prompt, then of the text
    for row, (first, last) in enumerate(zip(begins, [*begins[1:], frames], strict=True), start=1):
        attention[0, 1, row, first:last] = 0.1
    attention[0, 1, 0, 0:4] = 0.1

    class Decoder:
        config = SimpleNamespace(_attn_implementation="sdpa", median_filter_width=7)

        def __call__(self, **arguments: Any) -> Any:
            assert self.config._attn_implementation == "eager"
            assert arguments["input_ids"].tolist() == [[50, 51, 1, 2, 3]]
            return SimpleNamespace(cross_attentions=[attention])

    decoder = Decoder()
    found = token_frames(
        decoder, torch.zeros(1, 80, 4), [50, 51], [1, 2, 3], heads=[(0, 1)], frames=frames
    )
    assert found[1:] == pytest.approx(begins[1:], abs=1)
    assert found[0] <= begins[0]
    assert decoder.config._attn_implementation == "sdpa"


def _sure_of(engine: Any, *, silence: float, logprob: float) -> None:
    """Make every clip as silent, and its greedy text as doubtful, as is said."""
    decoder = engine._head._decoder
    hear, write = decoder.hear, decoder.write

    def heard(states: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = hear(states).clone()
        found[:, engine._head._tokens.no_speech] = silence
        return found

    def written(states: torch.Tensor, prompts: Any, *, temperature: float = 0.0) -> Any:
        found = write(states, prompts, temperature=temperature)
        if temperature > 0:
            return found
        return [each._replace(logprobs=[logprob] * (len(each.tokens) + 1)) for each in found]

    decoder.hear, decoder.write = heard, written


def test_silence_is_an_empty_text_only_where_the_text_is_doubtful(engine_of: EngineOf) -> None:
    options = UNGUARDED | {"no_speech_threshold": 0.6}
    asked = [ClipRequest(words=True)]
    for silence, logprob, silent in ((0.9, -2, True), (0.9, -0.1, False), (0.3, -2, False)):
        engine = engine_of("whisper", options=options)
        _sure_of(engine, silence=silence, logprob=logprob)
        [heard] = hypotheses(engine.transcribe(CLIPS[:1], asked))
        assert (heard.text == "") is silent
        if silent:
            assert heard == Hypothesis(text="", words=[])


def test_a_text_that_repeats_itself_is_never_published(engine_of: EngineOf) -> None:
    engine = engine_of("whisper", options=UNGUARDED | {"compression_ratio_threshold": 1.0})
    loops = [
        compression_ratio(each.text) > 1.0
        for each in hypotheses(engine_of("whisper", options=UNGUARDED).transcribe(CLIPS))
    ]
    assert any(loops)
    results = engine.transcribe(CLIPS)
    assert [isinstance(each, Rejection) for each in results] == loops
    for each in results:
        assert not isinstance(each, Rejection) or "repeats itself" in each.message


def test_doubtful_texts_are_sampled_again_and_the_same_in_each_batch(
    engine_of: EngineOf,
) -> None:
    options = {
        "compression_ratio_threshold": None,
        "no_speech_threshold": None,
        "temperatures": [0.4, 1.0],
    }
    engine = engine_of(
        "whisper", options=options | {"logprob_threshold": -0.001}, batch_seconds=240
    )
    greedy = hypotheses(engine_of("whisper", options=UNGUARDED).transcribe(CLIPS))
    sampled = hypotheses(engine.transcribe(CLIPS))
    assert [each.text for each in sampled] != [each.text for each in greedy]
    alone = [hypotheses(engine.transcribe([clip]))[0] for clip in CLIPS]
    assert [each.text for each in alone] == [each.text for each in sampled]


def test_a_shorter_text_can_be_wanted(engine_of: EngineOf) -> None:
    engine = engine_of("whisper", options=UNGUARDED | {"max_tokens": 5})
    assert isinstance(engine._head, WhisperHead)
    for each in hypotheses(engine.transcribe(CLIPS)):
        assert len(each.text) <= 20
    assert np.mean([len(each.text) for each in hypotheses(engine.transcribe(CLIPS))]) > 2
