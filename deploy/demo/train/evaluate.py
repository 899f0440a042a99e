"""Word error rate of a model on a manifest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jiwer
import torch

from deploy.demo.train.data import Clip, read_audio


def transcribe(model: Any, clips: Sequence[Clip], batch_size: int = 16) -> list[str]:
    """The text of each clip, in order. `model` (NeMo CTC) is left in the mode it was in."""
    featurizer = model.preprocessor.featurizer
    training, dither = model.training, featurizer.dither
    model.eval()
    featurizer.dither = 0.0
    order = sorted(range(len(clips)), key=lambda i: clips[i].duration)
    texts = [""] * len(clips)
    try:
        # not inference_mode: the encoder keeps its table of positions, and training needs it later
        with torch.no_grad():
            for start in range(0, len(order), batch_size):
                batch = order[start : start + batch_size]
                audio = [torch.from_numpy(read_audio(clips[i].path)) for i in batch]
                lengths = torch.tensor([len(samples) for samples in audio]).to(model.device)
                signal = torch.nn.utils.rnn.pad_sequence(audio, batch_first=True).to(model.device)
                scores, frames, _ = model.forward(input_signal=signal, input_signal_length=lengths)
                hypotheses = model.decoding.ctc_decoder_predictions_tensor(
                    scores, decoder_lengths=frames, return_hypotheses=True
                )
                for i, hypothesis in zip(batch, hypotheses, strict=True):
                    texts[i] = hypothesis.text
    finally:
        featurizer.dither = dither
        model.train(training)
    return texts


def word_error_rate(model: Any, clips: Sequence[Clip]) -> float:
    """WER of `model` in percent, pooled over `clips`."""
    return pooled_wer(clips, transcribe(model, clips))


def pooled_wer(clips: Sequence[Clip], texts: Sequence[str]) -> float:
    """WER of `texts` in percent: edits of all `clips` over words of all of them."""
    return 100 * jiwer.wer([clip.text for clip in clips], list(texts))
