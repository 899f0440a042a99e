"""The OpenAPI document: it is complete, and agrees with what the API does."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from typing import Any

import httpx
import jsonschema
import pytest

from tests.serve_app.http.conftest import TRANSCRIPTIONS, FakeRouter, Make, client_of, post

pytestmark = pytest.mark.asyncio(loop_scope="package")

#: A value for each parameter of the form.
VALUES = {
    "model": "vote",
    "language": "en",
    "channel": "each",
    "prompt": "Ada",
    "hotwords": "Ada",
    "keywords[]": ["Ada", "Babbage"],
    "response_format": "verbose_json",
    "timestamp_granularities[]": ["word"],
    "include[]": ["logprobs"],
    "stream": "true",
    "temperature": "0",
    "max_line_width": "32",
    "max_line_count": "1",
    "min_cue_seconds": "0.5",
    "top_p": "1",
    "min_p": "0",
    "top_k": "1",
    "seed": "1",
    "n": "1",
    "best_of": "1",
    "beam_size": "1",
    "frequency_penalty": "0",
    "presence_penalty": "0",
    "repetition_penalty": "1",
    "length_penalty": "1",
    "use_beam_search": "false",
    "task": "transcribe",
    "translate": "false",
    "vad_filter": "true",
    "temperature_inc": "0",
    "without_timestamps": "true",
    "no_timestamps": "true",
    "stream_include_usage": "true",
    "stream_continuous_usage_stats": "false",
    "user": "Ada",
    "chunking_strategy": "auto",
}


async def document(api: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await client_of(api).get("/docs/openapi.json")).json()
    return found


async def form(api: Any) -> dict[str, Any]:
    found = (await document(api))["paths"][TRANSCRIPTIONS]["post"]["requestBody"]["content"]
    properties: dict[str, Any] = found["multipart/form-data"]["schema"]["properties"]
    return properties


async def test_there_is_a_page_for_people(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "Chorus" in page.text
    home = await client.get("/")
    assert home.is_redirect
    assert home.headers["location"] == "/docs"


async def test_the_page_is_complete_and_needs_no_other_server(
    make: Make, client: httpx.AsyncClient
) -> None:
    api = make()
    page = (await client_of(api).get("/docs")).text
    found = await document(api)
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            assert f"<h2>{method.upper()} <code>{path}</code></h2>" in page
            assert all(f"<td>{status}</td>" in page for status in operation["responses"])
    assert all(f"<td><code>{name}</code>" in page for name in await form(api))
    assert "<code>vote</code>" in page, "the values of `model`"
    assert "curl http://test/v1/audio/transcriptions \\" in page
    links = re.findall(r"""(?:src|href)=["']([^"']*)""", page)
    assert links == ["data:,", "/docs/openapi.json"]
    assert not re.search(r"<script|@import|url\(", page)
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []


async def test_the_example_has_a_key_where_one_is_needed(make: Make) -> None:
    page = (await client_of(make(keys={"a": {"sha256": "0" * 64}})).get("/docs")).text
    assert "Authorization: Bearer $KEY" in html.unescape(page)


class Balanced(HTMLParser):
    """Notes which elements are open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


async def test_every_type_and_property_is_described(make: Make) -> None:
    found = await document(make())
    for name, schema in found["components"]["schemas"].items():
        assert schema.get("description"), name
        for key, each in schema.get("properties", {}).items():
            assert each.get("description") or "const" in each, (name, key)
    assert all(
        each.get("description") for each in (await form(make())).values() if "$ref" not in each
    )


async def test_every_parameter_that_is_named_can_be_given(make: Make, wav: bytes) -> None:
    api = make()
    assert (await form(api)).keys() == VALUES.keys() | {"file"}
    needs = {"timestamp_granularities[]": {"response_format": "verbose_json"}}
    for name, value in VALUES.items():
        answer = await post(client_of(api), wav, **{name: value, **needs.get(name, {})})
        assert answer.status_code == 200, name


async def test_every_value_that_is_named_can_be_given(make: Make, wav: bytes) -> None:
    api = make()
    for name, schema in (await form(api)).items():
        needs = {"response_format": "verbose_json"} if name == "timestamp_granularities[]" else {}
        for value in schema.get("items", schema).get("enum", []):
            answer = await post(client_of(api), wav, **{name: str(value), **needs})
            assert answer.status_code == 200, (name, value)


@pytest.mark.parametrize("response_format", ["json", "verbose_json"])
@pytest.mark.parametrize("said", [True, False])
async def test_an_answer_is_as_it_is_described(
    make: Make, router: FakeRouter, wav: bytes, response_format: str, said: bool
) -> None:
    api = make()
    if not said:
        router.hear = lambda clip: []
    asked = {"include[]": "logprobs"} if response_format == "json" else {}
    answer = await post(client_of(api), wav, response_format=response_format, **asked)
    found = await document(api)
    described = found["paths"][TRANSCRIPTIONS]["post"]["responses"]["200"]["content"]
    schema = described["application/json"]["schema"]
    jsonschema.validate(answer.json(), {**schema, "components": found["components"]})
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"text": 1}, {**schema, "components": found["components"]})


async def test_the_models_are_those_of_the_settings(make: Make, wav: bytes) -> None:
    api = make()
    named = (await document(api))["components"]["schemas"]["Model"]["enum"]
    listed = (await client_of(api).get("/v1/models")).json()["data"]
    assert named == [each["id"] for each in listed]
    assert (await form(api))["model"] == {"$ref": "#/components/schemas/Model"}


async def test_a_key_is_asked_for_where_one_is_needed(make: Make) -> None:
    digest = "0" * 64
    secured, open_ = await document(make(keys={"a": {"sha256": digest}})), await document(make())
    assert secured["security"] == [{"key": []}]
    assert "security" not in open_
    free = {
        path
        for path, methods in secured["paths"].items()
        for operation in methods.values()
        if operation.get("security") == [{}]
    }
    assert free == {"/live", "/ready", "/health"}


async def test_errors_have_one_shape(make: Make) -> None:
    for path, methods in (await document(make()))["paths"].items():
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                if status >= "400" and path not in ("/ready", "/health"):
                    schema = answer["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/ErrorBody"}, (path, status)


async def test_the_headers_of_a_transcription_are_described(make: Make, wav: bytes) -> None:
    api = make()
    operation = (await document(api))["paths"][TRANSCRIPTIONS]["post"]
    described = operation["responses"]["200"]["headers"]
    answer = await post(client_of(api), wav, seed="1")
    assert {name for name in answer.headers if name.startswith("x-chorus-")} == set(described)
    assert all(each["description"] for each in described.values())
