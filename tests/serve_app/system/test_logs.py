from __future__ import annotations

import json
import logging

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, use_span

from serve_app.system.log_format import formatter, serve_logging
from serve_app.system.logs import location_of, log_location
from serve_app.telemetry.tracing import begin_span


def fail() -> None:
    raise KeyError("what was said")


def test_an_error_is_located_without_its_message(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(KeyError) as caught:
        fail()
    log_location(caught.value)
    assert "unexpected error: KeyError at fail:" in caplog.text
    assert "in test_logs.py" in caplog.text
    assert "what was said" not in caplog.text


def test_an_error_that_was_not_raised_has_its_type_only() -> None:
    assert location_of(KeyError("what was said")) == "KeyError"


def test_logs_as_json(monkeypatch: pytest.MonkeyPatch, spans: InMemorySpanExporter) -> None:
    monkeypatch.setenv("CHORUS_LOG_FORMAT", "json")
    record = logging.LogRecord("a.b", logging.WARNING, "f.py", 1, "%d calls", (3,), None)
    with use_span(begin_span("work", SpanKind.INTERNAL)) as span:
        line = json.loads(formatter().format(record))
    assert line.pop("time").endswith("+00:00")
    context = span.get_span_context()
    assert line == {
        "level": "WARNING",
        "logger": "a.b",
        "message": "3 calls",
        "trace_id": f"{context.trace_id:032x}",
        "span_id": f"{context.span_id:016x}",
    }
    assert serve_logging("INFO")["encoding"] == "JSON"


def test_logs_are_text_unless_asked_for() -> None:
    record = logging.LogRecord("a.b", logging.WARNING, "f.py", 1, "%d calls", (3,), None)
    assert formatter().format(record).endswith(" WARNING a.b: 3 calls")
    assert "encoding" not in serve_logging("INFO")
