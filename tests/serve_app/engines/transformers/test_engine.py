"""The engine of Transformers: what it writes is what the library writes, whatever the batch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from schemas.failures import ErrorCode
from schemas.requests import ClipRequest
from serve_app.audio.clip import Clip
from serve_app.engines.base import Hypothesis, Rejection
from serve_app.engines.errors import EngineError
from serve_app.engines.load import check_engine, load_engine
from tests.serve_app.engines.transformers.conftest import EngineOf, FolderOf
from tests.serve_app.engines.transformers.tiny_models import RATE, speech

pytestmark = pytest.mark.slow  # imports Transformers and runs its models

KINDS = ("whisper", "english", "wav2vec2", "group", "parakeet", "tdt")
CLIPS = [speech(seconds, seed) for seed, seconds in enumerate((2, 0.3, 5, 1.3, 7, 3, 3, 11))]
WORDS = [ClipRequest(words=True)] * len(CLIPS)
#: Whisper's without the guards: random weights are sure of nothing, and repeat themselves.
UNGUARDED: dict[str, Any] = {
    "temperatures": [],
    "compression_ratio_threshold": None,
    "no_speech_threshold": None,
}


def options_of(kind: str) -> dict[str, Any]:
    return UNGUARDED if kind in ("whisper", "english") else {}


def hypotheses(results: list[Hypothesis | Rejection]) -> list[Hypothesis]:
    assert all(isinstance(each, Hypothesis) for each in results), results
    return [each for each in results if isinstance(each, Hypothesis)]


def by_the_library(kind: str, folder: Path, clips: list[Clip]) -> list[str]:
    """What Transformers' own classes write, one clip at a time."""
    if kind in ("whisper", "english"):
        return [_by_whisper(folder, clip, kind) for clip in clips]
    if kind == "tdt":
        return [_by_tdt(folder, clip) for clip in clips]
    if kind == "parakeet":
        model = transformers.ParakeetForCTC.from_pretrained(folder)
        processor: Any = transformers.ParakeetProcessor(
            transformers.ParakeetFeatureExtractor.from_pretrained(folder),
            transformers.ParakeetTokenizer.from_pretrained(folder),
        )
    else:
        model = transformers.Wav2Vec2ForCTC.from_pretrained(folder)
        processor = transformers.Wav2Vec2Processor.from_pretrained(folder)
    texts = []
    for clip in clips:
        inputs = processor(clip, sampling_rate=RATE, return_tensors="pt")
        with torch.inference_mode():
            labels = model.eval()(**inputs).logits.argmax(-1)
        texts += processor.batch_decode(labels)
    return [text.strip() for text in texts]


def _by_tdt(folder: Path, clip: Clip) -> str:
    model, processor = tdt_of(folder)
    inputs = processor(clip, sampling_rate=RATE, return_tensors="pt")
    written = model.generate(**inputs, max_new_tokens=1000).sequences
    return str(processor.batch_decode(written, skip_special_tokens=True)[0]).strip()


def tdt_of(folder: Path) -> tuple[Any, Any]:
    """The library's model and processor of a TDT model."""
    processor = transformers.ParakeetProcessor(
        transformers.ParakeetFeatureExtractor.from_pretrained(folder),
        transformers.ParakeetTokenizer.from_pretrained(folder),
        decoder_type="tdt",
    )
    return transformers.ParakeetForTDT.from_pretrained(folder).eval(), processor


def _by_whisper(folder: Path, clip: Clip, kind: str) -> str:
    model = transformers.WhisperForConditionalGeneration.from_pretrained(folder).eval()
    features = transformers.WhisperFeatureExtractor.from_pretrained(folder)
    tokenizer = transformers.WhisperTokenizer.from_pretrained(folder)
    inputs = features(clip, sampling_rate=RATE, return_tensors="pt").input_features
    said = {"language": "de", "task": "transcribe"} if kind == "whisper" else {}
    with torch.inference_mode():
        written = model.generate(inputs, **said)
    return str(tokenizer.batch_decode(written, skip_special_tokens=True)[0]).strip()


@pytest.mark.parametrize("kind", KINDS)
def test_texts_are_those_of_the_library_in_any_batch(
    engine_of: EngineOf, folder_of: FolderOf, kind: str
) -> None:
    options = options_of(kind)
    if kind == "whisper":
        options = options | {"language": "de"}
    engine = engine_of(kind, options=options, batch_seconds=240)
    expected = by_the_library(kind, folder_of(kind), CLIPS)
    assert len(set(expected)) > 4  # they depend on the clips
    together = hypotheses(engine.transcribe(CLIPS))
    assert [each.text for each in together] == expected
    assert all(each.words is None for each in together)
    with_words = hypotheses(engine.transcribe(CLIPS, WORDS))
    assert [each.text for each in with_words] == expected
    alone = [hypotheses(engine.transcribe([clip], WORDS[:1]))[0] for clip in CLIPS]
    assert [each.text for each in alone] == expected
    for one, other in zip(with_words, alone, strict=True):
        assert one.confidence == pytest.approx(other.confidence, abs=1e-3)
        assert [(each.word, each.start, each.end) for each in one.words or ()] == [
            (each.word, each.start, each.end) for each in other.words or ()
        ]
    again = hypotheses(engine.transcribe(CLIPS))
    assert again == together  # words leave nothing behind


@pytest.mark.parametrize("kind", KINDS)
def test_words_spell_the_text_within_the_clip_and_have_confidences(
    engine_of: EngineOf, kind: str
) -> None:
    engine = engine_of(kind, options=options_of(kind))
    all_confidences: set[float | None] = set()
    for clip, heard in zip(CLIPS, hypotheses(engine.transcribe(CLIPS, WORDS)), strict=True):
        assert heard.words is not None
        assert " ".join(each.word for each in heard.words) == " ".join(heard.text.split())
        times = [time for each in heard.words for time in (each.start, each.end)]
        assert times == sorted(times)
        assert not times or times[-1] <= len(clip) / RATE + 1e-3
        confidences = [each.confidence for each in heard.words]
        assert all(each is not None and 0 <= each <= 1 for each in confidences)
        if confidences:
            all_confidences.update(confidences)
            assert heard.confidence == pytest.approx(
                np.mean([each for each in confidences if each is not None]), abs=1e-4
            )
    assert len(all_confidences) > 10


@pytest.mark.parametrize("kind", KINDS)
def test_no_confidences_where_the_settings_want_none(engine_of: EngineOf, kind: str) -> None:
    engine = engine_of(kind, options=options_of(kind), confidence=False)
    [heard] = hypotheses(engine.transcribe(CLIPS[:1], WORDS[:1]))
    assert heard.confidence is None
    assert heard.words
    assert all(each.confidence is None for each in heard.words)


@pytest.mark.parametrize("kind", KINDS)
def test_silence_and_long_and_impossible_clips(engine_of: EngineOf, kind: str) -> None:
    engine = engine_of(kind, options=options_of(kind))
    clips = [
        np.zeros(RATE * 2, np.float32),
        np.zeros(0, np.float32),
        speech(40, 9),
        np.full(RATE, np.nan, np.float32),
        np.zeros(1, np.float32),
    ]
    results = engine.transcribe(clips, [ClipRequest(words=True)] * len(clips))
    codes = [each.code if isinstance(each, Rejection) else None for each in results]
    assert codes == [None, ErrorCode.AUDIO_EMPTY, None, ErrorCode.MODEL_REJECTED, None]
    long = results[2]
    assert isinstance(long, Hypothesis)
    assert long.words
    assert long.words[-1].end > 30
    assert " ".join(each.word for each in long.words) == " ".join(long.text.split())


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_an_engine_for_chorus(engine_of: EngineOf, folder_of: FolderOf, kind: str) -> None:
    engine = engine_of(kind, options=options_of(kind))
    settings = engine._settings
    check_engine(load_engine(settings))
    engine.warm_up()
    assert engine.sample_rate == RATE
    assert len(engine.sha256) == 64
    assert engine.min_samples == (30 * RATE if kind in ("whisper", "english") else RATE // 10)


def test_a_digest_of_the_settings_is_compared(engine_of: EngineOf) -> None:
    digest = engine_of("wav2vec2").sha256
    assert engine_of("wav2vec2", sha256=digest).sha256 == digest
    assert engine_of("sharded").sha256 != digest
    with pytest.raises(EngineError, match="SHA-256 is"):
        engine_of("wav2vec2", sha256="0" * 64)


def test_shards_are_the_same_model(engine_of: EngineOf, folder_of: FolderOf) -> None:
    assert len(list(folder_of("sharded").glob("*.safetensors"))) > 1
    whole, sharded = engine_of("wav2vec2"), engine_of("sharded")
    assert sharded.transcribe(CLIPS, WORDS) == whole.transcribe(CLIPS, WORDS)
    assert sharded.parameters == whole.parameters


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("whisper", {"tongue": "en"}, "tongue"),
        ("whisper", {"language": "xx"}, "no language 'xx'"),
        ("whisper", {"task": "sing"}, "task"),
        ("whisper", {"temperatures": [3]}, "temperatures"),
        ("english", {"language": "de"}, "it knows one language only"),
        ("english", {"task": "translate"}, "cannot translate"),
        ("wav2vec2", {"language": "en"}, "language"),
    ],
)
def test_options_are_checked(
    engine_of: EngineOf, kind: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(EngineError, match=said):
        engine_of(kind, options=options)


@pytest.mark.slow
def test_it_is_not_imported_for_nemo_models() -> None:
    code = (
        "import sys\n"
        "import serve_app.engines.load, serve_app.engines.available, workers.models.sources\n"
        "import serve_app.engines.transformers.folder\n"
        "from serve_app.engines.nemo.imports import import_nemo\n"
        "import_nemo()\n"
        "assert 'transformers' not in sys.modules, 'imported'\n"
        "import serve_app.engines.nemo.engine\n"
        "assert 'transformers' not in sys.modules, 'imported with the engine'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
