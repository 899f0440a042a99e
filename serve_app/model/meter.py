"""What is measured of a replica of a model."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from serve_app.engines.base import Hypothesis, Rejection
from serve_app.model.protocol import ModelInfo
from serve_app.telemetry import definitions as defined
from serve_app.telemetry.instruments import Instruments, NoInstruments
from serve_app.telemetry.tracing import begin_span, traceparent

#: Digits of a digest by which people tell files apart.
_DIGITS = 12
_TEXT = "text"


class Batch(NamedTuple):
    """A batch that the engine has worked on.

    Attributes:
        seconds: audio of each clip.
        results: one per clip.
        queue_s: longest wait of a clip.
        work_s: time of the engine.
        limit_s: `batch_seconds` of the model.
        traced: ``traceparent`` of those clips whose traces are sampled, and how long each waited.
    """

    seconds: Sequence[float]
    results: Sequence[Hypothesis | Rejection]
    queue_s: float
    work_s: float
    limit_s: float
    traced: Sequence[tuple[str, float]] = ()


class ModelMeter:
    """Measures one model.

    Args:
        model: its name in the settings.
        instruments: of the process.
    """

    def __init__(self, model: str, instruments: Instruments | None = None) -> None:
        self._model = model
        self._instruments = instruments or NoInstruments()
        self._serves: tuple[str, str] | None = None
        self._instruments.add(defined.MODEL_REFUSALS, 0, model)
        self._instruments.add(defined.MODEL_SWAPS, 0, model)

    def batch(self, batch: Batch) -> None:
        """Count a batch."""
        model, instruments = self._model, self._instruments
        outcomes = Counter(
            _TEXT if isinstance(each, Hypothesis) else each.code.value for each in batch.results
        )
        for outcome, count in outcomes.items():
            instruments.add(defined.MODEL_CLIPS, count, model, outcome)
        audio, padded = sum(batch.seconds), len(batch.seconds) * max(batch.seconds)
        instruments.add(defined.MODEL_AUDIO, audio, model)
        instruments.add(defined.MODEL_PADDING, padded - audio, model)
        instruments.add(defined.MODEL_BUSY, batch.work_s, model)
        instruments.observe(defined.MODEL_BATCH, batch.work_s, model)
        instruments.observe(defined.MODEL_BATCH_FILL, padded / batch.limit_s, model)
        instruments.observe(defined.MODEL_QUEUE_TIME, batch.queue_s, model)
        for each in batch.results:
            if isinstance(each, Hypothesis) and each.confidence is not None:
                instruments.observe(defined.MODEL_CONFIDENCE, each.confidence, model)
        if batch.traced:
            trace_clips(model, batch)

    def serves(self, info: ModelInfo) -> None:
        """Note what the replica serves, and how much waits for it."""
        instruments, model = self._instruments, self._model
        now = info.version, info.sha256[:_DIGITS]
        if self._serves != now:
            if self._serves is not None:
                instruments.add(defined.MODEL_SWAPS, 1, model)
                instruments.set(defined.MODEL_VERSION, 0, model, *self._serves)
            self._serves = now
        instruments.set(defined.MODEL_VERSION, 1, model, *now)
        instruments.set(defined.MODEL_WAITING, info.waiting, model)
        torch = sys.modules.get("torch")
        if torch is not None and info.device == "cuda":
            instruments.set(defined.MODEL_MEMORY, torch.cuda.memory_reserved(), model)

    def refused(self) -> None:
        """Count a version that could not be served."""
        self._instruments.add(defined.MODEL_REFUSALS, 1, self._model)


def trace_clips(model: str, batch: Batch) -> None:
    """A span for each clip of a batch whose trace is sampled.

    The first has the span of the batch inside; the others have links to it.

    Args:
        model: its name in the settings.
        batch: that has just ended.
    """
    end = time.time_ns()
    begin = end - int(batch.work_s * 1e9)
    clips = []
    for parent, waited_s in batch.traced:
        arrived = begin - int(waited_s * 1e9)
        clip = begin_span("transcribe clip", SpanKind.SERVER, parent, start_ns=arrived)
        begin_span("wait", SpanKind.INTERNAL, traceparent(clip), start_ns=arrived).end(begin)
        clips.append(clip)
    about: dict[str, AttributeValue] = {
        "chorus.model": model,
        "chorus.batch.clips": len(batch.seconds),
        "chorus.batch.audio_seconds": sum(batch.seconds),
        "chorus.batch.longest_seconds": max(batch.seconds),
    }
    span = begin_span("batch", SpanKind.INTERNAL, traceparent(clips[0]), about, begin)
    span.end(end)
    for clip in clips:
        if clip is not clips[0]:
            clip.add_link(span.get_span_context())
        clip.end(end)
