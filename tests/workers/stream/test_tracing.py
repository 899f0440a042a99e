"""The spans of a stream worker."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from schemas.failures import ErrorCode, RecordError
from schemas.settings import KafkaSettings
from tests.workers.stream.support import a_pending_record, manifest_of, transcript_of
from workers.stream import tracing
from workers.stream.output_messages import Outputs
from workers.stream.pending_record import PendingRecord

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
CONTEXT = f"00-{TRACE_ID}-b7ad6b7169203331-01".encode()


def delivered(name: str, *headers: tuple[str, bytes | None], offset: int = 0) -> PendingRecord:
    """A record that a worker has just taken in."""
    record = a_pending_record(name, offset=offset)
    record.message.headers = headers
    tracing.begin(record, "g")
    return record


def attributes(span: ReadableSpan) -> dict[str, object]:
    """The attributes of a span."""
    return dict(span.attributes or {})


def test_a_record_goes_on_with_the_trace_of_its_producer(spans: InMemorySpanExporter) -> None:
    record = delivered("a", ("traceparent", CONTEXT), offset=4)
    tracing.end([record])
    [span] = spans.get_finished_spans()
    assert (span.name, span.kind) == ("process in", SpanKind.CONSUMER)
    assert span.context is not None
    assert span.parent is not None
    assert f"{span.context.trace_id:032x}" == TRACE_ID
    assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"
    found = attributes(span)
    assert found["messaging.kafka.offset"] == 4
    assert found["messaging.operation.type"] == "process"
    assert found["messaging.consumer.group.name"] == "g"


@pytest.mark.parametrize(
    "headers",
    [
        [("traceparent", b"\xff\xfe"), ("tracestate", None)],
        [("signature", bytes(range(256)))],
        [("traceparent", None)],
        [],
    ],
)
def test_headers_that_are_no_context_begin_a_trace(
    spans: InMemorySpanExporter, headers: list[tuple[str, bytes | None]]
) -> None:
    tracing.end([delivered("a", *headers)])
    [span] = spans.get_finished_spans()
    assert span.parent is None


def test_what_its_producer_does_not_sample_has_no_spans(spans: InMemorySpanExporter) -> None:
    record = delivered("a", ("traceparent", CONTEXT[:-1] + b"0"))
    assert record.span is None
    assert tracing.traces([record]) is None
    with tracing.batch_span("send", "out", "g", [record], SpanKind.PRODUCER) as span:
        assert not span.is_recording()
    tracing.end([record])
    assert not spans.get_finished_spans()


def test_a_batch_belongs_to_the_first_and_is_linked_to_the_others(
    spans: InMemorySpanExporter,
) -> None:
    records = [delivered("a"), delivered("b", offset=1)]
    assert set(tracing.traces(records) or {}) == {0, 1}
    with tracing.batch_span("commit", "in", "g", records, SpanKind.CLIENT):
        pass
    [batch] = spans.get_finished_spans()
    assert batch.name == "commit in"
    assert attributes(batch)["messaging.operation.type"] == "settle"
    assert attributes(batch)["messaging.batch.message_count"] == 2
    first, second = (record.span for record in records)
    assert first is not None
    assert second is not None
    assert batch.parent is not None
    assert batch.parent.span_id == first.get_span_context().span_id
    assert [link.context for link in batch.links] == [second.get_span_context()]


def test_an_error_is_named_and_goes_on(spans: InMemorySpanExporter) -> None:
    with (
        pytest.raises(KeyError),
        tracing.batch_span("send", "out", "g", [delivered("a")], SpanKind.PRODUCER),
    ):
        raise KeyError("x")
    [span] = spans.get_finished_spans()
    assert attributes(span)["error.type"] == "KeyError"
    assert not span.status.is_ok


def test_a_dead_letter_is_an_error_of_its_span(spans: InMemorySpanExporter) -> None:
    record = delivered("a")
    record.outcome = RecordError(id="a", code=ErrorCode.AUDIO_MISSING, message="")
    tracing.end([record])
    [span] = spans.get_finished_spans()
    assert attributes(span)["error.type"] == "audio_missing"


def test_a_transcript_leads_to_its_trace(spans: InMemorySpanExporter) -> None:
    kafka = KafkaSettings()
    sizes = dict.fromkeys((kafka.topics.transcripts, kafka.topics.dead_letters), 1 << 20)
    record = delivered("a", ("traceparent", CONTEXT), ("mine", b"1"))
    record.outcome = transcript_of(manifest_of(record))
    headers = Outputs(kafka, sizes).result(record).headers
    assert record.span is not None
    told = [value.decode() for key, value in headers if key == "traceparent"]
    span_id = record.span.get_span_context().span_id
    assert told == [f"00-{TRACE_ID}-{span_id:016x}-01"]
    assert ("mine", b"1") in headers


def test_without_an_sdk_it_costs_nothing_and_breaks_nothing() -> None:
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    record = delivered("a", ("traceparent", CONTEXT))
    assert record.span is None
    with tracing.batch_span("send", "out", "g", [record], SpanKind.PRODUCER) as span:
        assert not span.is_recording()
