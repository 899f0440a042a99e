"""Greedy decoding of CTC models: wav2vec 2.0, Parakeet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from serve_app.audio.clip import Clip
from serve_app.engines.base import Hypothesis, Language, Rejection
from serve_app.engines.errors import EngineError
from serve_app.engines.results import not_finite
from serve_app.engines.transformers.frames import (
    MIN_SECONDS,
    features_of,
    frame_samples,
    hypothesis_of,
    surfaces_of,
)
from serve_app.engines.transformers.heads import Piece
from serve_app.engines.transformers.loading import Loaded
from serve_app.engines.words import merge_runs


class CtcHead:
    """A CTC model; implements `Head`.

    Args:
        loaded: the model.
        confidence: whether words and hypotheses have confidences.

    Raises:
        EngineError: the tokenizer, or the feature extractor, is not of this model.
    """

    def __init__(self, loaded: Loaded, *, confidence: bool) -> None:
        self._loaded = loaded
        self._confidence = confidence
        config, tokenizer = loaded.model.config, loaded.tokenizer
        self.sample_rate = int(loaded.features.sampling_rate)
        self.max_seconds = math.inf
        self.min_samples = round(MIN_SECONDS * self.sample_rate)
        # a group norm is over all of the time, and so over the padding
        self.pads = getattr(config, "feat_extract_norm", "layer") != "group"
        self._blank, self._size = config.pad_token_id, config.vocab_size
        if tokenizer.pad_token_id != self._blank:
            raise EngineError(
                f"the blank is token {self._blank} of the model, "
                f"but {tokenizer.pad_token_id} of the tokenizer"
            )
        self._surfaces = surfaces_of(tokenizer, self._size)
        self._frame_seconds = frame_samples(loaded) / self.sample_rate

    def transcribe(self, pieces: Sequence[Piece]) -> list[Hypothesis | Rejection]:
        """Transcribe a batch; see `Head.transcribe`."""
        inputs = features_of(self._loaded, pieces, self.min_samples, masked=self.pads)
        with torch.inference_mode():
            logits = self._loaded.model(**inputs).logits
            best, labels = logits.float().log_softmax(-1).max(-1)
        frames = self._frames(inputs, pieces)
        return [
            self._hypothesis(piece, row[:count], scores[:count])
            for piece, row, scores, count in zip(
                pieces, labels.cpu().numpy(), best.cpu().numpy(), frames, strict=True
            )
        ]

    def identify(self, clips: Sequence[Clip]) -> list[Language]:
        """Refuse to; see `Head.identify`."""
        raise EngineError("a CTC model identifies no languages; Whisper of several does")

    def _frames(self, inputs: dict[str, torch.Tensor], pieces: Sequence[Piece]) -> list[int]:
        """How many frames of the output each clip has."""
        model = self._loaded.model
        if hasattr(model, "_get_feat_extract_output_lengths"):
            lengths = torch.tensor([max(len(each.clip), self.min_samples) for each in pieces])
            counts = model._get_feat_extract_output_lengths(lengths)
        else:
            counts = model._get_subsampling_output_length(inputs["attention_mask"].sum(-1))
        return [int(each) for each in counts]

    def _hypothesis(
        self, piece: Piece, labels: np.ndarray[Any, Any], scores: np.ndarray[Any, Any]
    ) -> Hypothesis | Rejection:
        if not np.isfinite(scores).all():
            return not_finite()
        text = self._loaded.tokenizer.decode(labels.tolist()).strip()
        tokens = None
        if piece.words or self._confidence:
            tokens = merge_runs(
                labels,
                scores,
                self._surfaces,
                blank=self._blank,
                size=self._size,
                confidence=self._confidence,
            )
        return hypothesis_of(
            piece, text, tokens, frame_seconds=self._frame_seconds, sample_rate=self.sample_rate
        )
