"""`POST /v1/manifests`: a line out for each record in, when it is ready."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.failures import ErrorCode
from schemas.transcript import decode_transcript
from serve_app.http.manifests import MAX_LINE_BYTES, RECORDS
from tests.serve_app.http.conftest import UNHURRIED, FakeRouter, Make, client_of
from tests.serve_app.http.connection import Connection

pytestmark = pytest.mark.asyncio(loop_scope="package")


def line(**keys: Any) -> bytes:
    return json.dumps({"audio_filepath": "/a.wav", **keys}).encode()


async def transcribe(client: httpx.AsyncClient, *lines: bytes) -> list[dict[str, Any]]:
    answer = await client.post("/v1/manifests", content=b"\n".join(lines))
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert answer.text == "" or answer.text.endswith("\n")
    return [json.loads(each) for each in answer.content.splitlines()]


async def test_a_line_for_each_record(client: httpx.AsyncClient, router: FakeRouter) -> None:
    found = await transcribe(client, line(id="a", speaker={"age": 7}), b"", line(lang="en"), b" ")
    assert [each["id"] for each in found] == ["a", "3"], "who has no name is called by its line"
    assert found[0]["speaker"] == {"age": 7}
    assert all(each["pred_text"] and "processing_error" not in each for each in found)
    [(records, how)] = router.calls
    assert [record.lang for record in records] == [None, "en"]
    assert (how.target, how.words, how.interactive) == (None, False, False)


async def test_a_line_is_what_the_stream_writes(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/manifests", content=line(id="a", text="x", speaker=1))
    found = decode_transcript(answer.content)
    assert (found.id, found.audio_filepath, found.extra) == ("a", "/a.wav", {"speaker": 1})


async def test_a_bad_line_costs_only_itself(client: httpx.AsyncClient, router: FakeRouter) -> None:
    found = await transcribe(
        client,
        line(id="a"),
        b"no JSON",
        b'{"id": "b"}',
        b"\xff\xfe",
        line(id="long", text="x" * MAX_LINE_BYTES),
        line(duration=-1),
        line(id="c"),
    )
    by_id = {each["id"]: each.get("processing_error", "") for each in found}
    assert list(by_id) == ["a", "2", "3", "4", "5", "6", "c"]
    codes = [error.partition(":")[0] for error in by_id.values()]
    assert codes == ["", "record_json", "record_schema", *["record_json"] * 2, "record_schema", ""]
    assert "line 3" in by_id["3"]
    assert "audio_filepath" in by_id["3"]
    assert [record.id for record in router.calls[0][0]] == ["a", "c"]


async def test_only_bad_lines_ask_nobody(client: httpx.AsyncClient, router: FakeRouter) -> None:
    assert len(await transcribe(client, b"x", b"y")) == 2
    assert router.calls == []


async def test_a_record_that_fails_keeps_its_keys(
    client: httpx.AsyncClient, router: FakeRouter
) -> None:
    router.errors = [ErrorCode.AUDIO_MISSING]
    [found] = await transcribe(client, line(id="a", speaker="s"))
    assert found == {
        "id": "a",
        "audio_filepath": "/a.wav",
        "offset": 0.0,
        "speaker": "s",
        "processing_error": "audio_missing: told to fail",
    }


async def test_no_model_is_an_error_of_each_record(
    client: httpx.AsyncClient, router: FakeRouter
) -> None:
    router.always = ErrorCode.ROUTER_UNAVAILABLE
    found = await transcribe(client, line(), line())
    assert [each["processing_error"].partition(":")[0] for each in found] == [
        "router_unavailable"
    ] * 2


async def test_lines_come_when_they_are_ready(make: Make, router: FakeRouter) -> None:
    """The first list is held up; the others need not wait for it."""
    router.gate.clear()
    router.holds = lambda number: number == 0
    content = b"\n".join(line(id=str(n)) for n in range(3 * RECORDS))
    heard: list[str] = []
    connection = Connection(make(), httpx.Request("POST", "http://test/v1/manifests"))
    connection.send(content)
    await connection.start()
    while len(heard) < 2 * RECORDS:
        heard += [json.loads(each)["id"] for each in (await connection.read()).splitlines()]
    router.gate.set()
    heard += [json.loads(each)["id"] for each in (await connection.read_all()).splitlines()]
    first = [str(n) for n in range(RECORDS)]
    assert heard[2 * RECORDS :] == first
    assert sorted(heard, key=int) == [str(n) for n in range(3 * RECORDS)]


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [(b"", 422, "invalid_request"), (b"x" * 1001, 413, "manifest_too_large")],
)
async def test_a_body_that_is_no_manifest(
    make: Make, content: bytes, status: int, code: str
) -> None:
    client = client_of(make(max_upload_bytes=1000))
    answer = await client.post("/v1/manifests", content=content)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


KEYS = st.sampled_from(["id", "audio_filepath", "offset", "duration", "lang", "phrases", "x"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
LINES = st.binary(min_size=1) | st.dictionaries(KEYS, VALUES).map(lambda keys: line(**keys))


@settings(UNHURRIED, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(LINES.filter(lambda each: each.strip() and b"\n" not in each), min_size=1))
async def test_any_line_has_one_line_for_an_answer(
    client: httpx.AsyncClient, lines: list[bytes]
) -> None:
    found = await transcribe(client, *lines)
    assert len(found) == len(lines)
    assert all("pred_text" in each or "processing_error" in each for each in found)
