"""One trace from the caller of a Router to the engine of a model."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from schemas.requests import CallOptions, ClipRequest
from schemas.transcript import Transcript
from serve_app.audio.clip import Clip
from serve_app.model.batcher import Batcher
from serve_app.model.meter import ModelMeter
from serve_app.model.protocol import Reply
from serve_app.router.transcriber import Transcriber
from serve_app.telemetry import tracing
from tests.serve_app.model.fake_engine import FakeEngine
from tests.serve_app.router.fake_models import FakeModel, load, record, settings

TRACES = [f"00-{number:032x}-{number:016x}-01" for number in (17, 18)]


class Batched:
    """A model with a real queue."""

    replicas = 1

    def __init__(self) -> None:
        measure = ModelMeter("general").batch
        self.batcher = Batcher(FakeEngine, batch_seconds=100, measure=measure)

    async def transcribe(
        self, clips: Sequence[Clip], sample_rate: int, requests: Sequence[ClipRequest] = ()
    ) -> Reply:
        return Reply(await self.batcher.transcribe(clips, requests), "abc")


def tree(spans: Sequence[ReadableSpan], trace: int) -> list[str]:
    """The spans of a trace, each behind those that it is in."""
    mine = [each for each in spans if each.context is not None and each.context.trace_id == trace]
    names = {each.context.span_id: each for each in mine if each.context is not None}

    def path(span: ReadableSpan) -> str:
        above = names.get(span.parent.span_id) if span.parent is not None else None
        return f"{path(above)} / {span.name}" if above is not None else span.name

    return sorted(map(path, mine))


async def test_two_records_of_a_list(spans: InMemorySpanExporter) -> None:
    model = Batched()
    await model.batcher.start()
    router = Transcriber(settings(), {"general": model, "medical": FakeModel()}, load)
    options = CallOptions(traces={0: TRACES[0], 2: TRACES[1]})
    results = await router.transcribe([record(each) for each in range(3)], options=options)
    model.batcher.close()
    assert all(isinstance(each, Transcript) for each in results)
    found = spans.get_finished_spans()
    common = [
        "transcribe record",
        "transcribe record / ask general",
        "transcribe record / ask general / transcribe clip",
        "transcribe record / ask general / transcribe clip / wait",
        "transcribe record / read audio",
    ]
    with_batch = [*common, "transcribe record / ask general / transcribe clip / batch"]
    trees = sorted([tree(found, 17), tree(found, 18)], key=len)
    assert trees == [sorted(common), sorted(with_batch)]
    [batch] = [each for each in found if each.name == "batch"]
    assert (batch.attributes or {})["chorus.batch.clips"] == 3
    linked = [each for each in found if each.links]
    assert [link.context for each in linked for link in each.links] == [batch.context]


@pytest.mark.parametrize("bad", [{"conditions": "bad"}, {"conditions": "rejected"}])
async def test_a_record_that_fails(spans: InMemorySpanExporter, bad: dict[str, str]) -> None:
    router = Transcriber(settings(), {"general": FakeModel(), "medical": FakeModel()}, load)
    await router.transcribe([record(1, **bad)], options=CallOptions(traces={0: TRACES[0]}))
    [last] = [each for each in spans.get_finished_spans() if each.name == "transcribe record"]
    assert not last.status.is_ok
    assert (last.attributes or {})["error.type"] in ("audio_undecodable", "model_rejected")


async def test_what_is_not_sampled_has_no_spans(spans: InMemorySpanExporter) -> None:
    router = Transcriber(settings(), {"general": FakeModel(), "medical": FakeModel()}, load)
    await router.transcribe([record(1)])
    assert not spans.get_finished_spans()


def test_most_traces_that_begin_here_are_passed_over(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing._roots, "share", 0.1)
    monkeypatch.setattr(random, "random", iter([0.05, 0.1, 0.99]).__next__)
    bad = {"traceparent": "00-bad"}
    for name, parent in (("first", None), ("second", bad), ("third", {}), ("called", TRACES[0])):
        tracing.begin_span(name, SpanKind.SERVER, parent).end()
    assert [each.name for each in spans.get_finished_spans()] == ["first", "called"]
