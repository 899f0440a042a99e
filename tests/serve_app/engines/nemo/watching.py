"""An engine whose batches a test watches or makes fail."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.serve_app.engines.nemo.tiny_models import SAMPLE_RATE


def network_of(engine: Any) -> Any:
    """NeMo's model within the engine."""
    return engine._head._model


def watch(engine: Any, *, fits: float = float("inf")) -> list[tuple[int, float]]:
    """The batches that the engine will run, as (clips, seconds of the longest).

    Beyond `fits` padded samples, memory runs out.
    """
    import torch

    sizes: list[tuple[int, float]] = []
    decode = engine._head.decode

    def watched(signal: Any, lengths: Any, *, tokens: bool, wishes: Any = ()) -> Any:
        if signal.numel() > fits:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        sizes.append((signal.shape[0], round(signal.shape[1] / SAMPLE_RATE, 3)))
        return decode(signal, lengths, tokens=tokens, wishes=wishes)

    engine._head.decode = watched
    return sizes


def fail_on(engine: Any, sample: float | None, error: Exception) -> None:
    """Let the network raise `error` on a batch that contains this value; on any, if None."""
    decode = engine._head.decode

    def failing(signal: Any, lengths: Any, *, tokens: bool, wishes: Any = ()) -> Any:
        if sample is None or (signal == np.float32(sample)).any():
            raise error
        return decode(signal, lengths, tokens=tokens, wishes=wishes)

    engine._head.decode = failing
