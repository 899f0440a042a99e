"""Features, frames and tokens of models that hear frame by frame: CTC, TDT."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from serve_app.engines.base import Hypothesis
from serve_app.engines.transformers.heads import Piece
from serve_app.engines.transformers.loading import Loaded
from serve_app.engines.words import Tokens, fold_words, mean_confidence

#: Shorter clips are padded: they have no frame, or no standard deviation.
MIN_SECONDS = 0.1


def features_of(
    loaded: Loaded, pieces: Sequence[Piece], min_samples: int, *, masked: bool
) -> dict[str, torch.Tensor]:
    """The inputs of a model for a batch.

    Args:
        loaded: the model.
        pieces: the batch.
        min_samples: what shorter clips are padded to.
        masked: whether the model is told which frames are padding.
    """
    found = loaded.features(
        [np.pad(each.clip, (0, max(0, min_samples - len(each.clip)))) for each in pieces],
        sampling_rate=int(loaded.features.sampling_rate),
        padding=True,
        return_attention_mask=masked,
        return_tensors="pt",
    )
    inputs = {name: each.to(loaded.device) for name, each in found.items()}
    return {
        name: each.to(loaded.dtype) if each.is_floating_point() else each
        for name, each in inputs.items()
    }


def surfaces_of(tokenizer: Any, size: int) -> list[str]:
    """What each token adds to a text, without spaces."""
    delimiter = getattr(tokenizer, "word_delimiter_token", None)
    lower = getattr(tokenizer, "do_lower_case", False)
    surfaces = []
    for token in tokenizer.convert_ids_to_tokens(list(range(size))):
        surface = "" if token is None or token == delimiter else token.replace("▁", "")
        surfaces.append(surface.lower() if lower else surface)
    return surfaces


def frame_samples(loaded: Loaded) -> int:
    """Samples of audio in a frame of the output."""
    config = loaded.model.config
    if hasattr(config, "conv_stride"):
        adapted = config.adapter_stride**config.num_adapter_layers if config.add_adapter else 1
        return int(math.prod(config.conv_stride) * adapted)
    return int(loaded.features.hop_length * config.encoder_config.subsampling_factor)


def hypothesis_of(
    piece: Piece, text: str, tokens: Tokens | None, *, frame_seconds: float, sample_rate: int
) -> Hypothesis:
    """What was heard in a piece.

    Args:
        piece: the piece.
        text: what was said.
        tokens: its tokens with their frames; None where neither words nor confidences are wanted.
        frame_seconds: length of a frame.
        sample_rate: of the clip, in hertz.
    """
    words = None
    if tokens is not None:
        duration = len(piece.clip) / sample_rate
        words = fold_words(text, tokens, frame_seconds=frame_seconds, duration=duration)
    return Hypothesis(
        text=text, confidence=mean_confidence(words), words=words if piece.words else None
    )
