"""Word error rate of a model in training, by the engine's own decoding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch

from serve_app.engines.batch_plan import plan_batches
from serve_app.engines.nemo.allow_list import HEADS
from serve_app.engines.nemo.heads import make_head
from serve_app.engines.nemo.loading import min_samples
from serve_app.scoring.wer import ErrorCounts, count_errors
from workers.finetune.batches import pad
from workers.manifests.speech import Utterance, read_audio


def word_errors(
    model: Any, utterances: Sequence[Utterance], batch_seconds: float = 60.0
) -> ErrorCounts:
    """The errors of `model` on `utterances`, pooled. Blocks while the model runs.

    `model` is left in the mode and with the decoding that it had.
    """
    texts = transcribe(model, utterances, batch_seconds)
    return sum(
        (
            count_errors(each.text, text, lang=each.lang)
            for each, text in zip(utterances, texts, strict=True)
        ),
        start=ErrorCounts(),
    )


def transcribe(
    model: Any, utterances: Sequence[Utterance], batch_seconds: float = 60.0
) -> list[str]:
    """The transcript of each utterance by `model`, in order. Blocks while it runs."""
    rate = int(model.cfg.sample_rate)
    shortest = min_samples(model)
    plan = plan_batches([each.duration for each in utterances], batch_seconds)
    texts = [""] * len(utterances)
    # not inference_mode: the encoder keeps its table of positions, and training needs it later
    with _evaluating(model) as head, torch.no_grad():
        for batch in plan:
            clips = [torch.from_numpy(read_audio(utterances[i], rate)) for i in batch]
            clips = [torch.nn.functional.pad(c, (0, max(0, shortest - len(c)))) for c in clips]
            signal, lengths = pad(clips)
            decoded = head.decode(signal.to(model.device), lengths.to(model.device), tokens=False)
            for index, each in zip(batch, decoded, strict=True):
                texts[index] = each.text
    return texts


@contextmanager
def _evaluating(model: Any) -> Iterator[Any]:
    training, decoding = model.training, deepcopy(model.cfg.decoding)
    head = make_head(model, HEADS[type(model).__name__][0], confidence=False)
    try:
        yield head
    finally:
        model.change_decoding_strategy(decoding, verbose=False)
        model.train(training)
