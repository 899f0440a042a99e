"""Messages as they were written once are read for ever, and what is read is not lost.

`golden/v1` has messages of schema version 1: of each contract a minimal one, and one with every
field. They are never changed. A field that is added later has a default, so that they stay
readable, and is shown in a file of its own beside them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import msgspec
import pytest

from schemas.dead_letter import HEADER_PREFIX, from_headers, to_headers
from schemas.json_schema import CONTRACTS, json_schema
from schemas.manifest import decode_manifest, encode_manifest
from schemas.transcript import decode_transcript, encode_transcript

GOLDEN = Path(__file__).parent / "golden" / "v1"
UNKNOWN = {"added_later": {"deep": [1, None, "ä"]}, "added_too": "text"}


class Codec(NamedTuple):
    """How a contract travels.

    Attributes:
        passes_through: whether keys that are not known are kept; else they are dropped.
    """

    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes]
    passes_through: bool = False


def letter_from_json(data: bytes) -> Any:
    return from_headers((key, str(value).encode()) for key, value in json.loads(data).items())


def letter_to_json(letter: Any) -> bytes:
    return json.dumps({key: value.decode() for key, value in to_headers(letter)}).encode()


def of_json(contract: str) -> Codec:
    return Codec(msgspec.json.Decoder(CONTRACTS[contract]).decode, msgspec.json.encode)


CODECS = {
    "manifest": Codec(partial(decode_manifest, default_id="in-0-7"), encode_manifest, True),
    "transcript": Codec(decode_transcript, encode_transcript, True),
    "metrics": of_json("metrics"),
    "dead-letter": Codec(letter_from_json, letter_to_json),
    "model-card": of_json("model-card"),
}
MESSAGES = [path.name for path in sorted(GOLDEN.glob("*.json"))]
in_contracts = pytest.mark.parametrize("contract", CODECS)


def read(name: str) -> dict[str, Any]:
    message: dict[str, Any] = json.loads((GOLDEN / name).read_text(encoding="utf-8"))
    return message


def fields_in(message: dict[str, Any]) -> set[str]:
    return {key.removeprefix(HEADER_PREFIX) for key in message}


def test_every_contract_on_the_wire_has_golden_messages() -> None:
    assert set(CODECS) == set(CONTRACTS) - {"settings"}
    for contract in CODECS:
        assert {f"{contract}.full.json", f"{contract}.minimal.json"} <= set(MESSAGES)


def lost(before: Any, after: Any) -> bool:
    """Whether something in `before` is not in `after`; keys with defaults may be added."""
    if isinstance(before, dict) and isinstance(after, dict):
        return any(key not in after or lost(value, after[key]) for key, value in before.items())
    if isinstance(before, list) and isinstance(after, list):
        return len(before) != len(after) or any(map(lost, before, after))
    return bool(before != after)


def defaults(contract: str) -> dict[str, Any]:
    """What the fields of a contract are that a message leaves out, as JSON values."""
    found = {}
    for field in msgspec.structs.fields(CONTRACTS[contract]):
        if field.default_factory is not msgspec.NODEFAULT:
            found[field.encode_name] = msgspec.to_builtins(field.default_factory())
        elif field.default not in (msgspec.NODEFAULT, msgspec.UNSET):
            found[field.encode_name] = msgspec.to_builtins(field.default)
    return found


@pytest.mark.parametrize("name", MESSAGES)
def test_nothing_of_a_golden_message_is_lost(name: str) -> None:
    codec, golden = CODECS[name.partition(".")[0]], read(name)
    decoded = codec.decode(json.dumps(golden).encode())
    encoded = codec.encode(decoded)
    written = json.loads(encoded)
    assert not lost(golden, {**defaults(name.partition(".")[0]), **written})
    assert codec.decode(encoded) == decoded
    if ".full." in name:
        assert written == golden


@pytest.mark.parametrize("name", [name for name in MESSAGES if "dead-letter" not in name])
def test_a_golden_message_is_valid_by_the_published_schema(name: str) -> None:
    jsonschema.validate(read(name), json_schema(name.partition(".")[0]))


@in_contracts
def test_a_field_that_is_added_has_a_default(contract: str) -> None:
    required = {
        field.encode_name for field in msgspec.structs.fields(CONTRACTS[contract]) if field.required
    }
    if contract == "manifest":
        required.remove("id")  # a record without one is named after its place
    assert required <= fields_in(read(f"{contract}.minimal.json"))


@in_contracts
def test_every_field_is_in_a_golden_message(contract: str) -> None:
    shown = set()
    for path in GOLDEN.glob(f"{contract}.*.json"):
        message = read(path.name)
        shown |= fields_in({key: value for key, value in message.items() if value is not None})
    assert set(CONTRACTS[contract].__struct_fields__) - {"extra"} <= shown


@in_contracts
def test_keys_that_are_not_known_pass_through_or_are_dropped(contract: str) -> None:
    codec, golden = CODECS[contract], read(f"{contract}.full.json")
    prefix = HEADER_PREFIX if contract == "dead-letter" else ""
    unknown = {prefix + key: value for key, value in UNKNOWN.items()}
    decoded = codec.decode(json.dumps({**golden, **unknown}).encode())
    written = json.loads(codec.encode(decoded))
    assert written == ({**golden, **unknown} if codec.passes_through else golden)
