"""What the document says, where only a reader could tell that it is wrong."""

from __future__ import annotations

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
    "prompt": "Ada",
    "keywords[]": ["Ada", "Babbage"],
    "response_format": "verbose_json",
    "timestamp_granularities[]": ["word"],
    "include[]": ["logprobs"],
    "stream": "true",
    "temperature": "0",
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
    assert free == {"/live", "/ready", "/metrics"}


async def test_errors_have_one_shape(make: Make) -> None:
    for path, methods in (await document(make()))["paths"].items():
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                if status >= "400" and path != "/ready":
                    schema = answer["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/ErrorBody"}, (path, status)
