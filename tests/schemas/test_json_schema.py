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
def test_each_contract_has_a_valid_schema(name: str):
    jsonschema.Draft202012Validator.check_schema(json_schema(name))


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
def test_the_manifest_schema_agrees_with_the_decoder(record: object):
    try:
        decode_manifest(json.dumps(record).encode(), default_id="x")
        accepted = True
    except ManifestError:
        accepted = False
    valid = jsonschema.Draft202012Validator(json_schema("manifest")).is_valid(record)
    assert valid == accepted


def test_a_written_transcript_is_valid():
    jsonschema.validate(json.loads(encode_transcript(transcript())), json_schema("transcript"))
