"""The published schemas accept what the decoders accept and refuse what they refuse."""

from __future__ import annotations

import json

import jsonschema
import pytest

from schemas.json_schema import CONTRACTS, json_schema
from schemas.manifest import ManifestError, decode_manifest
from schemas.transcript import encode_transcript
from tests.schemas.test_transcript import transcript


@pytest.mark.parametrize("name", CONTRACTS)
def test_each_contract_has_a_valid_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema(name))


@pytest.mark.parametrize("name", CONTRACTS)
def test_every_property_has_a_description(name: str) -> None:
    definitions = json_schema(name)["$defs"]
    properties = [
        (title, key, value.get("description"))
        for title, definition in definitions.items()
        for key, value in definition.get("properties", {}).items()
    ]
    assert properties
    assert [each for each in properties if not each[2]] == []
    assert not any("Attributes:" in each["description"] for each in definitions.values())


def test_a_default_that_is_made_is_in_the_schema() -> None:
    kafka = json_schema("settings")["$defs"]["KafkaSettings"]["properties"]
    assert kafka["bootstrap_servers"]["default"] == ["127.0.0.1:9092"]
    assert "default" not in kafka["topics"]


@pytest.mark.parametrize(
    "record",
    [
        {"audio_filepath": "a.wav"},
        {"audio_filepath": "a.wav", "speaker": {"deep": [1]}},
        {"audio_filepath": "a.wav", "duration": None},
        {"audio_filepath": "a.wav", "duration": -1},
        {"audio_filepath": 5},
        {"text": "no audio"},
        {"audio_filepath": "a.wav", "id": "x" * 600},
        [],
    ],
)
def test_the_manifest_schema_agrees_with_the_decoder(record: object) -> None:
    try:
        decode_manifest(json.dumps(record).encode(), default_id="x")
        accepted = True
    except ManifestError:
        accepted = False
    valid = jsonschema.Draft202012Validator(json_schema("manifest")).is_valid(record)
    assert valid == accepted


def test_a_written_transcript_is_valid() -> None:
    jsonschema.validate(json.loads(encode_transcript(transcript())), json_schema("transcript"))
