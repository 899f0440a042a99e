from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from tests.workers.stream.support import a_pending_record
from workers.stream import tracing

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    monkeypatch.setattr(tracing, "_tracer", provider.get_tracer("test"))
    return exporter


def test_a_batch_links_to_the_records_own_traces(exporter: InMemorySpanExporter) -> None:
    traced, plain = a_pending_record("a", offset=4), a_pending_record("b")
    traced.message.headers = (("traceparent", f"00-{TRACE_ID}-b7ad6b7169203331-01".encode()),)
    with tracing.batch_span("process", "in", "g", [traced, plain], SpanKind.CONSUMER):
        pass
    (span,) = exporter.get_finished_spans()
    assert span.name == "process in"
    assert span.attributes is not None
    assert span.attributes["messaging.batch.message_count"] == 2
    assert span.attributes["messaging.operation.type"] == "process"
    assert span.attributes["messaging.consumer.group.name"] == "g"
    (link,) = span.links
    assert link.context.trace_id == int(TRACE_ID, 16)
    assert link.attributes is not None
    assert link.attributes["messaging.kafka.offset"] == 4


def test_headers_that_are_not_text_do_not_fail_a_batch(exporter: InMemorySpanExporter) -> None:
    record, broken = a_pending_record("a"), a_pending_record("b")
    record.message.headers = (
        ("signature", bytes(range(256))),
        ("traceparent", f"00-{TRACE_ID}-b7ad6b7169203331-01".encode()),
    )
    broken.message.headers = (("traceparent", b"\xff\xfe"), ("tracestate", None))
    with tracing.batch_span("process", "in", "g", [record, broken], SpanKind.CONSUMER):
        pass
    (span,) = exporter.get_finished_spans()
    (link,) = span.links
    assert link.context.trace_id == int(TRACE_ID, 16)


def test_an_error_is_named_and_goes_on(exporter: InMemorySpanExporter) -> None:
    with pytest.raises(KeyError), tracing.batch_span("send", "out", "g", [], SpanKind.PRODUCER):
        raise KeyError("x")
    (span,) = exporter.get_finished_spans()
    assert span.attributes is not None
    assert span.attributes["error.type"] == "KeyError"
    assert not span.status.is_ok


def test_without_an_sdk_it_costs_nothing_and_breaks_nothing() -> None:
    with tracing.batch_span("send", "out", "g", [a_pending_record()], SpanKind.PRODUCER) as span:
        assert not span.is_recording()
