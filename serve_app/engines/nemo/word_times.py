"""Time the words of a text with a CTC model, which aligns them with the sound."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import torch


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
            A list per clip. None where the words do not fit the sound: there are more tokens than
            frames.
        """
        from nemo.collections.asr.parts.utils.rnnt_utils import Hypothesis
        from nemo.collections.asr.parts.utils.timestamp_utils import (
            get_forced_aligned_timestamps_with_external_model as align,
        )

        logprobs, frames, _ = self._model.forward(input_signal=signal, input_signal_length=lengths)
        heard = [
            SimpleNamespace(y_sequence=row[:count].float().cpu(), text="")
            for row, count in zip(logprobs, frames.tolist(), strict=True)
        ]
        written = [Hypothesis(0.0, [], text=" ".join(each.split())) for each in texts]
        found = align(
            audio=heard,
            has_hypotheses=True,
            external_ctc_model=self._model,
            main_model_predictions=written,
            batch_size=len(heard),
            viterbi_device=signal.device,
            timestamp_type="word",
            verbose=False,
        )
        return [
            _spans(each.timestamp["word"], text) for each, text in zip(found, texts, strict=True)
        ]


def _spans(rows: Sequence[dict[str, Any]], text: str) -> list[tuple[float, float]] | None:
    """The times of the words of `text`; None if those that were aligned are others."""
    if [row["word"] for row in rows] != text.split():
        return None
    spans = [(float(row["start"]), float(row["end"])) for row in rows]
    inside = all(0 <= start <= end for start, end in spans)
    return spans if inside and all(a[0] <= b[0] for a, b in pairwise(spans)) else None
