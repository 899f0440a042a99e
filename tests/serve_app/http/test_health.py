"""What those who run the API ask it: probes, metrics, names of requests."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from schemas.failures import ErrorCode
from serve_app.audio.sandbox import MediaDecoder
from serve_app.http.api import make_api
from serve_app.http.coalescing import RequestCoalescer
from serve_app.router.protocol import Probe
from serve_app.telemetry.instruments import NoInstruments
from tests.serve_app.http.conftest import (
    TRANSCRIPTIONS,
    FakeRouter,
    Make,
    client_of,
    post,
    settings_of,
    until,
)

pytestmark = pytest.mark.asyncio(loop_scope="package")

MODELS = ("general", "medical")


async def value(client: httpx.AsyncClient, series: str) -> float:
    """Of a series of the metrics; 0 where there is none."""
    found = re.search(rf"^{re.escape(series)} (\S+)$", (await client.get("/metrics")).text, re.M)
    return float(found[1]) if found else 0.0


async def test_live_says_nothing_of_the_models(
    client: httpx.AsyncClient, router: FakeRouter
) -> None:
    router.up = Probe(router=False)
    answer = await client.get("/live")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    "path", ["/live", "/ready", "/health", "/metrics", "/docs", "/", "/v1/models", "/nothing"]
)
async def test_a_probe_may_ask_for_the_head_alone(client: httpx.AsyncClient, path: str) -> None:
    whole, head = await client.get(path), await client.head(path)
    assert head.status_code == whole.status_code
    assert head.headers.get("content-type") == whole.headers.get("content-type")
    assert head.content == b""
    assert (await client.head(TRANSCRIPTIONS)).status_code == 405


@pytest.mark.parametrize(
    ("up", "status", "models"),
    [
        (Probe(router=True), 200, {"general": True, "medical": True}),
        (Probe(router=True, silent=("medical",)), 200, {"general": True, "medical": False}),
        (Probe(router=True, silent=("medical", "general")), 503, dict.fromkeys(MODELS, False)),
        (Probe(router=False), 503, dict.fromkeys(MODELS, False)),
    ],
)
async def test_ready_with_one_model(
    client: httpx.AsyncClient, router: FakeRouter, up: Probe, status: int, models: dict[str, bool]
) -> None:
    router.up = up
    answer = await client.get("/ready")
    assert (await client.get("/health")).json() == answer.json()
    assert answer.status_code == status
    assert answer.json() == {
        "ready": status == 200,
        "router": up.router,
        "models": models,
        "missing": list(up.missing),
        "worker_faults": {},
    }


async def test_a_stream_worker_that_does_not_run_is_seen(
    router: FakeRouter, decoder: MediaDecoder
) -> None:
    faults = {"serve-0": "Kafka cannot be reached"}
    client = client_of(make_api(settings_of(), router, decoder, lambda: faults))
    assert (await client.get("/ready")).json()["worker_faults"] == faults
    assert await value(client, "chorus_stream_worker_faults") == 1


async def test_metrics_that_are_elsewhere(router: FakeRouter, decoder: MediaDecoder) -> None:
    client = client_of(make_api(settings_of(), router, decoder, instruments=NoInstruments()))
    answer = await client.get("/metrics")
    assert answer.status_code == 404
    assert "metrics port of each of its nodes" in answer.json()["error"]["message"]


async def test_requests_are_counted_by_route_and_status(make: Make, wav: bytes) -> None:
    client = client_of(make())
    await post(client, wav)
    await post(client, b"no audio")
    for name in ("auto", "nobody", "somebody"):
        await client.get(f"/v1/models/{name}")
    for path in ("/x", "/y", "/v1/audio"):
        await client.get(path)
    start = "chorus_http_requests_total"
    route = f'route="{TRANSCRIPTIONS}"'
    assert await value(client, f'{start}{{{route},status="200"}}') == 1
    assert await value(client, f'{start}{{{route},status="400"}}') == 1
    assert await value(client, f'{start}{{route="/v1/models/{{name}}",status="404"}}') == 2
    assert await value(client, f'{start}{{route="other",status="404"}}') == 3
    assert await value(client, f"chorus_http_request_seconds_count{{{route}}}") == 2
    assert await value(client, 'chorus_http_audio_seconds_total{client="anybody"}') == 3


async def test_requests_under_way_are_counted(make: Make, router: FakeRouter, wav: bytes) -> None:
    client = client_of(make())
    router.gate.clear()
    held = asyncio.create_task(post(client, wav))
    await until(lambda: len(router.calls) == 1)
    assert await value(client, "chorus_http_requests_under_way") == 2, "and the one that asks"
    router.gate.set()
    await held
    assert await value(client, "chorus_http_requests_under_way") == 1


async def test_every_answer_has_a_name_of_its_own(client: httpx.AsyncClient) -> None:
    answers = [await client.get(path) for path in ("/live", "/live", "/nowhere", "/v1/models/x")]
    names = {each.headers["x-request-id"] for each in answers}
    assert len(names) == 4
    assert all(re.fullmatch("[0-9a-f]{32}", name) for name in names)


async def test_a_request_goes_on_under_the_name_that_it_brings(
    client: httpx.AsyncClient, router: FakeRouter, wav: bytes
) -> None:
    client.headers["x-request-id"] = "mine.1"
    answer = await post(client, wav)
    [([record], _)] = router.calls
    assert record.id.startswith("mine.1-")
    assert "x-request-id" not in answer.headers, "Serve says it"


@pytest.mark.parametrize("name", ["", "a b", "x" * 101, "a\tb", "é", '"; drop'])
async def test_a_name_that_could_do_harm_is_not_taken(
    client: httpx.AsyncClient, router: FakeRouter, wav: bytes, name: str
) -> None:
    client.headers["x-request-id"] = name
    assert (await post(client, wav)).status_code == 200
    [([record], _)] = router.calls
    assert re.fullmatch(r"[0-9a-f]{32}-\d+", record.id)


async def test_what_is_not_there_is_told_in_the_same_shape(client: httpx.AsyncClient) -> None:
    missing = await client.get("/v1/nowhere")
    assert missing.status_code == 404
    assert missing.json()["error"]["type"] == "not_found_error"
    wrong = await client.get("/v1/audio/transcriptions")
    assert wrong.status_code == 405
    assert "POST" in wrong.headers["allow"]
    assert set(wrong.json()["error"]) == {"message", "type", "param", "code"}


async def test_models(client: httpx.AsyncClient) -> None:
    listed = (await client.get("/v1/models")).json()
    assert listed["object"] == "list"
    kinds = {each["id"]: each["kind"] for each in listed["data"]}
    assert kinds == {"auto": "rules", "vote": "plan", "general": "model", "medical": "model"}
    for each in listed["data"]:
        assert (await client.get(f"/v1/models/{each['id']}")).json() == each
    vote = (await client.get("/v1/models/vote")).json()
    assert vote["models"] == ["general", "medical"]
    assert (vote["object"], vote["owned_by"]) == ("model", "chorus")


async def test_a_request_that_fails_is_in_the_log_by_its_name(
    client: httpx.AsyncClient, router: FakeRouter, wav: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    router.errors = [ErrorCode.MODEL_REJECTED, ErrorCode.ROUTER_FAULT, ErrorCode.MODEL_REJECTED]
    answers = [
        await post(client, wav),
        await post(client, wav),
        await post(client, b"no audio"),
        await post(client, wav, task="translate"),
    ]
    names = [each.headers["x-request-id"] for each in answers]
    found = [(each.levelname, each.getMessage()) for each in caplog.records]
    assert found == [
        ("WARNING", f"request {names[0]}: POST {TRANSCRIPTIONS}: 400 model_rejected"),
        ("ERROR", f"request {names[1]}: POST {TRANSCRIPTIONS}: 500 router_fault"),
        ("WARNING", f"request {names[2]}: POST {TRANSCRIPTIONS}: 400 audio_undecodable"),
        ("WARNING", f"request {names[3]}: POST {TRANSCRIPTIONS}: 400 invalid_request"),
    ]
    caplog.clear()
    stream = await post(client, wav, stream="true")
    [record] = caplog.records
    assert stream.headers["x-request-id"] in record.getMessage()
    caplog.clear()
    await post(client, wav)
    await client.get("/nowhere")
    assert caplog.records == []


async def test_a_request_goes_on_with_its_callers_trace(
    router: FakeRouter, decoder: MediaDecoder, wav: bytes, spans: InMemorySpanExporter
) -> None:
    client = client_of(make_api(settings_of(), RequestCoalescer(router), decoder))
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    answer = await client.post(
        TRANSCRIPTIONS, files={"file": wav}, data={"model": "auto"}, headers=headers
    )
    assert answer.status_code == 200
    [span] = spans.get_finished_spans()
    assert span.name == f"POST {TRANSCRIPTIONS}"
    assert (span.attributes or {})["http.response.status_code"] == 200
    assert span.context is not None
    own = f"00-{trace}-{span.context.span_id:016x}-01"
    assert answer.headers["traceresponse"] == own
    [(_, options)] = router.calls
    assert options.traces == {0: own}
