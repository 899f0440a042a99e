"""Results of an engine, and what NeMo itself makes of the same model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

from schemas.failures import ErrorCode
from serve_app.engines.base import Hypothesis, Rejection
from serve_app.engines.nemo.imports import nemo_log

KINDS = [
    ("ctc_char", "auto"),
    ("ctc_conv", "auto"),
    ("ctc_bpe", "auto"),
    ("rnnt_char", "auto"),
    ("rnnt", "auto"),
    ("tdt", "auto"),
    ("hybrid_rnnt", "rnnt"),
    ("hybrid_rnnt", "ctc"),
    ("hybrid_tdt", "auto"),
    ("hybrid_tdt", "ctc"),
]


def reference(path: Path, head: str) -> Any:
    """The model as NeMo itself loads it.

    Not the engine's object, because `transcribe()` leaves a model in training mode.
    """
    from nemo.collections.asr.models import ASRModel

    model = ASRModel.restore_from(str(path), map_location="cpu")
    if head == "ctc":
        model.change_decoding_strategy(decoder_type="ctc", verbose=False)
    model.transcribe = _leaves_handlers_alone(model.transcribe)
    return model


def _leaves_handlers_alone(transcribe: Callable[..., Any]) -> Callable[..., Any]:
    """NeMo's `transcribe`, which sets the level of all handlers of its logger, pytest's too.

    That one is the same for all tests of a process: those after it would miss warnings.
    """

    @wraps(transcribe)
    def call(*args: Any, **options: Any) -> Any:
        levels = [(handler, handler.level) for handler in nemo_log.handlers]
        try:
            return transcribe(*args, **options)
        finally:
            for handler, level in levels:
                handler.setLevel(level)

    return call


def heard(results: Sequence[Hypothesis | Rejection]) -> list[Hypothesis]:
    """The results, all of which must be hypotheses."""
    assert all(isinstance(each, Hypothesis) for each in results), results
    return [each for each in results if isinstance(each, Hypothesis)]


def texts(results: Sequence[Hypothesis | Rejection]) -> list[str]:
    return [each.text for each in heard(results)]


def codes(results: Sequence[Hypothesis | Rejection]) -> list[ErrorCode | None]:
    return [each.code if isinstance(each, Rejection) else None for each in results]
