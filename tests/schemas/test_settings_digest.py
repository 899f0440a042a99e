"""The digest of the settings: the same for the same transcripts, another for others."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from schemas.settings import Settings, settings_digest

BASE: dict[str, Any] = {
    "models": {"general": {"path": "/general.nemo"}, "medical": {"path": "/medical.nemo"}},
    "plans": {"both": {"ensemble": ["general", "medical"]}},
    "routing": {"default": "general"},
    "audio": {"roots": ["/speech"]},
}


def digest_with(section: str, **keys: Any) -> str:
    raw = {**BASE, section: {**BASE.get(section, {}), **keys}}
    return settings_digest(msgspec.convert(raw, Settings))


@pytest.mark.parametrize(
    ("section", "keys"),
    [
        ("kafka", {"group": "other"}),
        ("stream", {"batch_records": 7}),
        ("serve", {"routers": 2}),
        ("http", {"port": 1}),
        ("audio", {"threads": 1}),
        ("audio", {"allow_private_addresses": True, "fetches": 1, "cache_bytes": 0}),
        ("models", {"general": {"path": "/general.nemo", "replicas": 3, "num_cpus": 2.0}}),
    ],
)
def test_what_changes_no_transcript_is_left_out(section: str, keys: dict[str, Any]) -> None:
    assert digest_with(section, **keys) == digest_with("kafka")


@pytest.mark.parametrize(
    ("section", "keys"),
    [
        ("models", {"general": {"path": "/other.nemo"}}),
        ("models", {"general": {"path": "/general.nemo", "phrases": ["a name"]}}),
        ("plans", {"both": {"ensemble": ["medical", "general"]}}),
        ("routing", {"default": "medical"}),
        ("audio", {"roots": ["/elsewhere"]}),
        ("text_rules", {"doses": {"units": True}}),
    ],
)
def test_what_changes_a_transcript_changes_it(section: str, keys: dict[str, Any]) -> None:
    assert digest_with(section, **keys) != digest_with("kafka")
