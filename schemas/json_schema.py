"""JSON Schema (2020-12) of every contract, so that producers in any language can use it."""

from __future__ import annotations

from typing import Any

import msgspec

from schemas.dead_letter import DeadLetter
from schemas.descriptions import attributes, structs_within, summary
from schemas.manifest import ManifestRecord
from schemas.metrics import MetricsEvent
from schemas.model_card import ModelCard
from schemas.settings import Settings
from schemas.transcript import Transcript

CONTRACTS: dict[str, type[msgspec.Struct]] = {
    "manifest": ManifestRecord,
    "transcript": Transcript,
    "metrics": MetricsEvent,
    "dead-letter": DeadLetter,
    "settings": Settings,
    "model-card": ModelCard,
}


def json_schema(name: str) -> dict[str, Any]:
    """The schema of the contract `name`, one of `CONTRACTS`."""
    schema = msgspec.json.schema(CONTRACTS[name])
    for struct in structs_within(CONTRACTS[name]):
        _describe(schema["$defs"][struct.__name__], struct)
    definition = schema["$defs"][CONTRACTS[name].__name__]
    if "extra" in definition["properties"]:  # on the wire, extra keys stand at the top level
        del definition["properties"]["extra"]
        definition["additionalProperties"] = True
    if name == "manifest":  # a record without an id is named after its source
        definition["required"].remove("id")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _describe(definition: dict[str, Any], struct: type[msgspec.Struct]) -> None:
    """Add to `definition`, the schema of `struct`, the docstring's texts and computed defaults."""
    definition["description"] = summary(struct)
    for key, text in attributes(struct).items():
        definition["properties"][key]["description"] = text
    for field in msgspec.structs.fields(struct):
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
            # a section's own keys have the defaults; editors would insert a copy of all of them
            if not isinstance(default, msgspec.Struct):
                definition["properties"][field.encode_name]["default"] = default
