"""The spans of a record in the Router, if its trace is sampled."""

from __future__ import annotations

import time
from collections.abc import Mapping

from opentelemetry.trace import Span, SpanKind

from schemas.failures import RecordError
from serve_app.router.results import Result
from serve_app.telemetry.tracing import begin_span, fail, traceparent


class RecordTrace:
    """What the Router does with one record: reading its audio, asking models.

    Args:
        parent: ``traceparent`` of the caller.
    """

    def __init__(self, parent: str) -> None:
        self._span = begin_span("transcribe record", SpanKind.SERVER, parent)
        self._inside = traceparent(self._span) or parent

    def read(self, audio_ms: float) -> None:
        """Its audio, or a channel of it, has been read and measured in so many milliseconds."""
        now = time.time_ns()
        begin = now - int(audio_ms * 1e6)
        begin_span("read audio", SpanKind.INTERNAL, self._inside, start_ns=begin).end(now)

    def ask(self, model: str) -> Span:
        """A model is asked for it; the span is ended with the answer.

        Args:
            model: its name.
        """
        about = {"chorus.model": model}
        return begin_span(f"ask {model}", SpanKind.CLIENT, self._inside, about)

    def end(self, result: Result | None) -> None:
        """It has a result; None where the whole list was given up."""
        span = self._span
        if result is None:
            fail(span, "cancelled")
        elif isinstance(result, RecordError):
            fail(span, result.code.value)
        else:
            span.set_attributes(
                {
                    "chorus.rule": result.rule,
                    "chorus.plan": result.plan or "",
                    "chorus.model": result.selected_model,
                    "chorus.model.version": result.model_version or "",
                    "chorus.audio_seconds": result.duration,
                }
            )
        span.end()


def record_traces(traces: Mapping[int, str] | None) -> dict[int, RecordTrace]:
    """The traces of a list's records, by their places in it."""
    return {place: RecordTrace(parent) for place, parent in (traces or {}).items()}
