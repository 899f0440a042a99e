"""Time the words of a text with a CTC model, which aligns them with the sound."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch

from serve_app.engines.base import Rejection
from serve_app.engines.isolation import run_isolated

log = logging.getLogger(__name__)


class _Piece(NamedTuple):
    """What the model heard, [frames, labels], and the text that it is aligned with."""

    logprobs: torch.Tensor
    text: str


class WordTimer:
    """Finds when the words of a text were spoken; never changes the text.

    Args:
        model: NeMo's CTC model, with subword tokens of the languages of the texts.
        min_samples: shortest clip that it takes.

    Attributes:
        min_samples: shortest clip that it takes.
    """

    def __init__(self, model: Any, *, min_samples: int) -> None:
        self._model = model
        self.min_samples = min_samples

    def times(
        self, signal: torch.Tensor, lengths: torch.Tensor, texts: Sequence[str]
    ) -> list[list[tuple[float, float]] | None]:
        """Start and end in seconds of each word of each text, by forced alignment.

        Args:
            signal: float32 [clips, samples], zero after each clip's end.
            lengths: int64 [clips], in samples.
            texts: one per clip; a word is what whitespace separates.

        Returns:
            A list per clip. None where the words do not fit the sound (there are more tokens than
            frames), or cannot be aligned: a text without times is better than none.
        """
        logprobs, frames, _ = self._model.forward(input_signal=signal, input_signal_length=lengths)
        pieces = [
            _Piece(row[:count].float().cpu(), text)
            for row, count, text in zip(logprobs, frames.tolist(), texts, strict=True)
        ]
        found = run_isolated(self._align, pieces)
        spans = [None if isinstance(each, Rejection) else each for each in found]
        if faults := sum(isinstance(each, Rejection) for each in found):
            log.warning("the words of %d of %d clips could not be timed", faults, len(found))
        return spans

    def _align(self, pieces: Sequence[_Piece]) -> list[list[tuple[float, float]] | None]:
        from nemo.collections.asr.parts.utils.rnnt_utils import Hypothesis
        from nemo.collections.asr.parts.utils.timestamp_utils import (
            get_forced_aligned_timestamps_with_external_model as align,
        )

        found = align(
            audio=[SimpleNamespace(y_sequence=each.logprobs, text="") for each in pieces],
            has_hypotheses=True,
            external_ctc_model=self._model,
            main_model_predictions=[
                Hypothesis(0.0, [], text=" ".join(each.text.split())) for each in pieces
            ],
            batch_size=len(pieces),
            viterbi_device=self._model.device,
            timestamp_type="word",
            verbose=False,
        )
        return [
            _spans(aligned.timestamp["word"], each.text) if each.logprobs.isfinite().all() else None
            for aligned, each in zip(found, pieces, strict=True)
        ]


def _spans(rows: Sequence[dict[str, Any]], text: str) -> list[tuple[float, float]] | None:
    """The times of the words of `text`; None if those that were aligned are others."""
    if [row["word"] for row in rows] != text.split():
        return None
    spans = [(float(row["start"]), float(row["end"])) for row in rows]
    inside = all(0 <= start <= end for start, end in spans)
    return spans if inside and all(a[0] <= b[0] for a, b in pairwise(spans)) else None
