"""`POST /v1/manifests`: a line out for each record in, when it is ready."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections import Counter
from typing import Any

import httpx
import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.failures import ErrorCode
from schemas.transcript import decode_transcript
from serve_app.http.manifests import CALL_RECORDS, CALLS, MAX_LINE_BYTES
from tests.serve_app.http.conftest import (
    UNHURRIED,
    FakeRouter,
    Make,
    client_of,
    unnamed_files,
)
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
    [(records, options)] = router.calls
    assert [record.lang for record in records] == [None, "en"]
    assert (options.target, options.words, options.interactive) == (None, False, False)


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
    assert list(by_id) == ["a", "2", "b", "4", "5", "6", "c"]
    codes = [error.partition(":")[0] for error in by_id.values()]
    assert codes == ["", "record_json", "record_schema", *["record_json"] * 2, "record_schema", ""]
    assert "line 3" in by_id["b"]
    assert "audio_filepath" in by_id["b"]
    assert "audio_filepath" in found[5], "its own keys"
    assert [record.id for record in router.calls[0][0]] == ["a", "c"]


async def test_a_byte_order_mark_costs_no_record(client: httpx.AsyncClient) -> None:
    (found,) = await transcribe(client, b"\xef\xbb\xbf" + line(id="a"))
    assert found["id"] == "a"
    assert "processing_error" not in found


TEXT = '{"id": "a", "audio_filepath": "/a.wav", "text": "naïve\u2028ключ"}\r\n{"id": "b"}\n'
STORED = {
    "utf-8": TEXT.encode("utf-8-sig"),
    "utf-16": TEXT.encode("utf-16"),
    "utf-16 without a mark": TEXT.encode("utf-16-le"),
    "gzip": gzip.compress(TEXT.encode(), mtime=0),
    "bzip2": bz2.compress(TEXT.encode()),
    "xz": lzma.compress(TEXT.encode()),
    "zstd": pyarrow.compress(TEXT.encode("utf-16"), codec="zstd", asbytes=True),
}


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("said", [True, False])
async def test_a_body_is_read_as_a_manifest_file_is(
    client: httpx.AsyncClient, router: FakeRouter, stored: str, said: bool
) -> None:
    headers = {"content-encoding": stored} if said and "utf" not in stored else {}
    answer = await client.post("/v1/manifests", content=STORED[stored], headers=headers)
    assert answer.status_code == 200
    first, second = (json.loads(each) for each in answer.content.splitlines())
    assert (first["id"], second["id"]) == ("a", "b")
    assert second["processing_error"].startswith("record_schema: line 2: ")
    [(records, _)] = router.calls
    assert [record.text for record in records] == ["naïve\u2028ключ"]


@pytest.mark.parametrize(
    ("content", "headers", "status", "reason"),
    [
        (STORED["gzip"][:-9], {}, 400, "the body: is damaged or cut short"),
        (STORED["zstd"][:-9], {}, 400, "the body: is damaged or cut short"),
        (TEXT.encode("utf-16")[:-1], {}, 400, "the body: is not the text that it begins as"),
        (b"RIFF\x24\x00\x00\x00WAVE", {}, 400, "the body: is not text"),
        (b"[" + line() + b"]", {}, 400, "the body: is a JSON array"),
        (gzip.compress(b"", mtime=0), {}, 400, "the body is empty"),
        (b"\n \r\n\n", {}, 400, "the body has only blank lines"),
        (b"\xef\xbb\xbf\n" + b"\n" * 40_000, {}, 400, "the body has only blank lines"),
        (gzip.compress(b"\n\n", mtime=0), {}, 400, "the body has only blank lines"),
        (gzip.compress(STORED["gzip"], mtime=0), {}, 400, "the body: is not text"),
        (gzip.compress(bytes(5_000_000), mtime=0), {}, 400, "the body: is not text"),
        (
            gzip.compress(b" " * 5_000_000, mtime=0),
            {},
            413,
            "decompressed and in UTF-8, has more than 500",
        ),
        (bz2.compress(line() * 9999), {}, 413, "decompressed and in UTF-8, has more than 50000 b"),
        (TEXT.encode(), {"content-encoding": "br"}, 415, "with gzip, zstd, bzip2 or xz"),
        (TEXT.encode(), {"content-encoding": "gzip, gzip"}, 415, "with gzip, zstd, bzip2 or xz"),
        (TEXT.encode(), {"content-type": "multipart/form-data; boundary=x"}, 415, "--data-binary"),
    ],
)
async def test_what_is_no_manifest_is_one_error(
    make: Make, content: bytes, headers: dict[str, str], status: int, reason: str
) -> None:
    before = unnamed_files()
    client = client_of(make(max_upload_bytes=50_000))
    answer = await client.post("/v1/manifests", content=content, headers=headers)
    assert answer.status_code == status
    assert reason in answer.json()["error"]["message"]
    assert unnamed_files() <= before


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


@pytest.mark.parametrize(
    ("code", "calls"),
    [(ErrorCode.MODEL_UNAVAILABLE, [2, 2]), (ErrorCode.MODEL_DIED, [2, 1, 1])],
)
async def test_what_is_not_the_records_fault_is_tried_again(
    client: httpx.AsyncClient,
    router: FakeRouter,
    code: ErrorCode,
    calls: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serve_app.http.retries.FIRST_PAUSE_S", 0.001)
    router.errors = [code]
    found = await transcribe(client, line(), line())
    assert all("pred_text" in each for each in found)
    assert [len(records) for records, _ in router.calls] == calls


async def test_patience_is_used_up_once(
    client: httpx.AsyncClient, router: FakeRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve_app.http.retries.FIRST_PAUSE_S", 0.1)
    monkeypatch.setattr("serve_app.http.retries.RETRY_S", 0.25)
    router.always = ErrorCode.ROUTER_UNAVAILABLE
    lists = 2 * CALLS
    found = await transcribe(client, *(line(id=str(n)) for n in range(lists * CALL_RECORDS)))
    assert len(found) == lists * CALL_RECORDS
    asked = Counter(records[0].id for records, _ in router.calls)
    assert list(asked.values())[CALLS:] == [1] * CALLS, "the later lists were asked once"


async def test_no_model_is_an_error_of_each_record(
    client: httpx.AsyncClient, router: FakeRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve_app.http.retries.RETRY_S", 0.0)
    router.always = ErrorCode.ROUTER_UNAVAILABLE
    found = await transcribe(client, line(), line())
    assert [each["processing_error"].partition(":")[0] for each in found] == [
        "router_unavailable"
    ] * 2


async def test_a_record_that_kills_a_model_twice_is_at_fault(
    client: httpx.AsyncClient, router: FakeRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve_app.http.retries.FIRST_PAUSE_S", 0.001)
    router.always = ErrorCode.MODEL_DIED
    [found] = await transcribe(client, line(id="a"))
    assert found["processing_error"].startswith("model_died: ")
    assert found["processing_error"].endswith("; tried 2 times")
    assert len(router.calls) == 2


async def test_a_record_that_kills_a_model_is_the_only_one_that_fails(
    client: httpx.AsyncClient, router: FakeRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve_app.http.retries.FIRST_PAUSE_S", 0.001)
    transcribe_all = router.transcribe

    async def transcribe_or_die(records: Any, *others: Any) -> Any:
        if any(record.id == "killer" for record in records):
            router.errors = [ErrorCode.MODEL_DIED]
        return await transcribe_all(records, *others)

    monkeypatch.setattr(router, "transcribe", transcribe_or_die)
    found = await transcribe(client, *(line(id=name) for name in ("a", "b", "killer", "c")))
    assert {each["id"] for each in found if "processing_error" not in each} == {"a", "b", "c"}
    assert [len(records) for records, _ in router.calls] == [4, 1, 1, 1, 1]


async def test_lines_come_when_they_are_ready(make: Make, router: FakeRouter) -> None:
    """The first list is held up; the others need not wait for it."""
    router.gate.clear()
    router.holds = lambda number: number == 0
    content = b"\n".join(line(id=str(n)) for n in range(3 * CALL_RECORDS))
    heard: list[str] = []
    connection = Connection(make(), httpx.Request("POST", "http://test/v1/manifests"))
    connection.send(content)
    await connection.start()
    while len(heard) < 2 * CALL_RECORDS:
        heard += [json.loads(each)["id"] for each in (await connection.read()).splitlines()]
    router.gate.set()
    heard += [json.loads(each)["id"] for each in (await connection.read_all()).splitlines()]
    first = [str(n) for n in range(CALL_RECORDS)]
    assert heard[2 * CALL_RECORDS :] == first
    assert sorted(heard, key=int) == [str(n) for n in range(3 * CALL_RECORDS)]


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [(b"", 400, "invalid_request"), (b"x" * 1001, 413, "manifest_too_large")],
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
    first = line(text="x" * 64)  # what the body begins with says what it is
    found = await transcribe(client, first, *lines)
    assert len(found) == len(lines) + 1
    assert all("pred_text" in each or "processing_error" in each for each in found)
