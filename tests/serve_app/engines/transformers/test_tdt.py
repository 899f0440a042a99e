"""TDT: token times are those of the library, and a model that does not go on comes to an end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from schemas.settings import ModelSettings
from serve_app.audio.clip import Clip
from serve_app.engines.errors import EngineError
from serve_app.engines.transformers.engine import TransformersEngine
from serve_app.engines.transformers.frames import features_of
from serve_app.engines.transformers.heads import Piece
from serve_app.engines.transformers.tdt import TdtHead
from tests.serve_app.engines.transformers.conftest import EngineOf, FolderOf
from tests.serve_app.engines.transformers.test_engine import CLIPS, tdt_of
from tests.serve_app.engines.transformers.tiny_models import RATE

pytestmark = pytest.mark.slow  # imports Transformers and runs its models


def engine_at(folder: Path) -> TransformersEngine:
    return TransformersEngine(ModelSettings(engine="transformers", path=str(folder), threads=1))


def emitted(engine: TransformersEngine, clips: Sequence[Clip]) -> list[Any]:
    """The tokens of clips in one batch, with their frames."""
    head = engine._head
    assert isinstance(head, TdtHead)
    pieces = [Piece(clip) for clip in clips]
    inputs = features_of(head._loaded, pieces, head.min_samples, masked=True)
    with torch.inference_mode():
        heard = head._loaded.model.get_audio_features(**inputs)
        return list(head._decode(heard.pooler_output, heard.attention_mask.sum(-1)))


def test_tokens_begin_and_end_where_the_library_has_them(
    engine_of: EngineOf, folder_of: FolderOf
) -> None:
    model, processor = tdt_of(folder_of("tdt"))
    for clip, found in zip(CLIPS, emitted(engine_of("tdt"), CLIPS), strict=True):
        written = model.generate(
            **processor(clip, sampling_rate=RATE, return_tensors="pt"), max_new_tokens=1000
        )
        [tokens], [durations] = written.sequences.tolist(), written.durations.tolist()
        at, expected = 0, []
        for token, duration in zip(tokens, durations, strict=True):
            if token != model.config.blank_token_id:
                expected.append((token, at, at + duration))
            at += duration
        assert list(zip(found.tokens, found.starts, found.ends, strict=True)) == expected


def test_a_model_that_stays_at_a_frame_goes_on_after_its_limit(copy_of: FolderOf) -> None:
    folder = copy_of("tdt")
    model = transformers.ParakeetForTDT.from_pretrained(folder)
    with torch.no_grad():
        model.joint.head.bias[model.config.vocab_size] = 1000  # no token lasts
        model.joint.head.bias[model.config.blank_token_id] = -1000
    model.config.max_symbols_per_step = 3
    model.save_pretrained(folder)
    [found] = emitted(engine_at(folder), CLIPS[:1])
    frames = 25  # of two seconds, 80 ms each
    assert found.starts == found.ends == [frame for frame in range(frames) for _ in range(3)]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("blank_token_id", 12, "the vocabulary of 12 has no blank 12"),
        ("durations", [0, 1, 2, 3, 400], "`durations` are numbers of frames, from 0 to 100"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(
    copy_of: FolderOf, key: str, value: object, said: str
) -> None:
    folder = copy_of("tdt")
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {key: value}))
    with pytest.raises(EngineError, match=said):
        engine_at(folder)
