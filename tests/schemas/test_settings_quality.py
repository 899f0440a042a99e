"""The section `stream.quality`."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.settings import Settings, SettingsError, settings_from
from schemas.settings.quality import judged_domains


def settings_with(quality: dict[str, Any]) -> Settings:
    rule = {
        "name": "wards",
        "model": "general",
        "any": [
            {"field": "domain", "one_of": ["wards", "surgery"]},
            {"field": "domain", "equals": "pharmacy"},
            {"field": "domain", "matches": "^x"},
            {"field": "hospital", "equals": "north"},
        ],
    }
    return settings_from(
        {
            "models": {"general": {"engine": "a.b:C"}},
            "routing": {"default": "general", "rules": [rule]},
            "audio": {"roots": ["/"]},
            "stream": {"quality": quality},
        }
    )


def test_the_domains_are_those_that_are_named() -> None:
    settings = settings_with({"domains": ["calls"]})
    assert settings.stream.quality is not None
    found = judged_domains(settings.stream.quality, settings.routing)
    assert found == {"calls", "wards", "surgery", "pharmacy"}


@pytest.mark.parametrize(
    ("quality", "said"),
    [
        ({"reference": 120}, "stream.quality.reference: .*multiple of 50"),
        ({"reference": 50}, "stream.quality.reference: .*>= 100"),
        ({"error_rate": 1}, "stream.quality.error_rate: .*< 1"),
        ({"every_s": 0}, "stream.quality.every_s: .*> 0"),
        ({"max_records": 3000}, "stream.quality.max_records: is below 4 times `reference` .1000."),
        ({"every": "5m"}, "stream.quality.every: no such key; did you mean `every_s`"),
    ],
)
def test_what_is_wrong_is_named(quality: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        settings_with(quality)
