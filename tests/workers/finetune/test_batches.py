from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from serve_app.audio.clip import SAMPLE_RATE
from workers.finetune.batches import BatchDataset, BatchStream, Draw
from workers.manifests.speech import Utterance

MAIN = [1.0 + i % 7 for i in range(200)]
OTHER = [2.0] * 30


def stream(**changes: object) -> BatchStream:
    settings = {"seed": 3, "batch_seconds": 20.0, "round_steps": 10} | changes
    return BatchStream([MAIN, OTHER], [0.8, 0.2], **settings)  # type: ignore[arg-type]


def test_rounds_are_pieces_of_one_stream() -> None:
    whole = list(stream(round_steps=40))
    again = stream(round_steps=10)
    pieces = []
    for epoch in (2, 0, 3, 1):  # in any order: a resumed run starts in the middle
        again.set_epoch(epoch)
        pieces.append((epoch, list(again)))
    assert [batch for _, piece in sorted(pieces) for batch in piece] == whole
    assert all(a != b for a, b in pairwise(piece for _, piece in pieces))


def test_a_batch_stays_under_its_padded_seconds() -> None:
    durations = np.array(MAIN + OTHER)
    for batch in stream(round_steps=100):
        longest = durations[[draw.clip for draw in batch]].max()
        assert len(batch) * longest <= 20 or len(batch) == 1


def test_a_pass_has_each_main_clip_once_and_the_others_by_share() -> None:
    drawn: list[int] = []
    for batch in stream(round_steps=1000):
        drawn += [draw.clip for draw in batch]
        if len(drawn) == 250:  # 200 / 0.8
            break
    assert sorted(clip for clip in drawn if clip < 200) == list(range(200))
    others = [clip for clip in drawn if clip >= 200]
    counts = np.bincount(others, minlength=230)[200:]
    assert len(others) == 50
    assert set(counts) <= {1, 2}  # 50 of 30: as few repetitions as possible


def test_the_first_batches_are_short() -> None:
    durations = np.array(MAIN + OTHER)
    batches = list(stream(round_steps=60, short_steps=25, short_seconds=2.4))
    clips = [[draw.clip for draw in batch] for batch in batches]
    assert max(durations[c].max() for c in clips[:25]) < 2.4
    assert max(durations[c].max() for c in clips[25:]) == 7


def test_batches_are_padded_and_telephone_audio_is_resampled(tmp_path: Path) -> None:
    tone = np.sin(np.arange(8000) / 5).astype(np.float32)
    for name, rate in (("call", 8000), ("clean", SAMPLE_RATE)):
        soundfile.write(tmp_path / f"{name}.flac", tone, rate)
    utterances = [
        Utterance(str(tmp_path / "call.flac"), 0.0, 1.0, "a b"),
        Utterance(str(tmp_path / "clean.flac"), 0.25, 0.25, "c"),
    ]
    data = BatchDataset(utterances, [[4, 5], [6]])
    signal, lengths, tokens, counts = data[[Draw(0, 1), Draw(1, 2)]]
    assert signal.shape == (2, int(lengths.max()))
    assert lengths[0] >= SAMPLE_RATE
    assert SAMPLE_RATE / 4 <= lengths[1] <= SAMPLE_RATE * 0.65  # a segment and its silences
    assert tokens.tolist() == [[4, 5], [6, 0]]
    assert counts.tolist() == [2, 1]
    assert signal.dtype == torch.float32
    assert signal[1, int(lengths[1]) :].abs().sum() == pytest.approx(0)
