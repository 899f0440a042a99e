"""Which Serve applications a change of the settings concerns."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest

from schemas.settings import Settings, part_digest, part_of, settings_digest, settings_from

RAW: dict[str, Any] = {
    "models": {
        "general": {"engine": "a.b:C", "text_rules": "plain"},
        "medical": {"engine": "a.b:C"},
    },
    "routing": {"default": "general"},
    "audio": {"roots": ["/speech"]},
    "text_rules": {"plain": {"numbers": "en"}},
    "http": {},
    "registry": {"url": "/models"},
}
PARTS = {"general", "medical", "router", "http", "worker"}


def digests(raw: dict[str, Any]) -> dict[str, str]:
    settings = settings_from(raw)
    return {
        **{name: part_digest(settings, "model", name) for name in settings.models},
        **{part: part_digest(settings, part) for part in ("router", "http", "worker")},
    }


def changed(raw: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    raw = copy.deepcopy(raw)
    place = raw
    *path, last = key.split(".")
    for each in path:
        place = place.setdefault(each, {})
    place[last] = value
    return raw


@pytest.mark.parametrize(
    ("key", "value", "concerned"),
    [
        # Serve changes the number of replicas in place
        ("models.medical.replicas", 2, set()),
        ("models.medical.autoscaling", {"max_replicas": 9}, set()),
        # who asks how a model is must not wake it
        ("models.medical.autoscaling", {"min_replicas": 0}, {"router", "http"}),
        ("stream.autoscaling", {"max_workers": 9}, set()),
        ("stream.autoscaling", {"records_per_worker": 9}, {"worker"}),
        ("stream.catch_up_s", 60.0, {"worker"}),
        ("models.medical.num_cpus", 0.5, {"medical"}),
        ("models.medical.threads", 3, {"medical"}),
        ("models.medical.required", False, {"router", "http"}),
        # callers and Router compare what decides over transcripts
        ("models.medical.batch_seconds", 9.0, {"medical", "router", "http", "worker"}),
        ("models.medical.engine", "d.e:F", {"medical", "router", "http", "worker"}),
        ("models.general.text_rules", None, {"router", "http", "worker"}),
        ("routing.default", "medical", {"router", "http", "worker"}),
        ("routing.language_model", "medical", {"medical", "router", "http", "worker"}),
        ("audio.max_seconds", 9.0, {"router", "http", "worker"}),
        ("audio.threads", 9, {"router", "http"}),
        ("audio.fetches", 9, {"router", "http"}),
        ("http.replicas", 2, set()),
        ("http.num_cpus", 2, {"http"}),
        ("stream.workers", 2, set()),
        ("stream.batch_records", 2, {"worker"}),
        ("stream.quality", {"every_s": 60.0}, {"worker"}),
        ("kafka.group", "g", {"worker"}),
        ("serve.routers", 2, set()),
        ("serve.router_num_cpus", 2, {"router"}),
        ("serve.health_timeout_s", 9.0, {"general", "medical"}),
        ("serve.app", "other", PARTS),
        ("serve.quick_start", "off", set()),
        ("serve.address", "auto", set()),
        ("validation.max_wer", 0.5, set()),
        ("rollout.max_worse", 0.2, set()),
        ("registry.url", "/others", PARTS),
    ],
)
def test_a_change_concerns(key: str, value: object, concerned: set[str]) -> None:
    before, after = digests(RAW), digests(changed(RAW, key, value))
    assert {name for name in before if before[name] != after[name]} == concerned


@pytest.mark.parametrize("part", ["router", "http", "worker"])
def test_a_part_of_a_part_is_itself_and_decides_alike(part: Any) -> None:
    settings = settings_from(RAW)
    found = part_of(settings, part)
    assert part_of(found, part) == found
    assert settings_digest(found) == settings_digest(settings)
    assert settings_from(msgspec.to_builtins(found)) == found


def test_of_a_model_only_what_is_its_own_is_left() -> None:
    settings = settings_from(RAW)
    found = part_of(settings, "model", "general")
    assert list(found.models) == ["general"]
    assert part_of(found, "model", "general") == found
    assert isinstance(found, Settings)
    assert found.registry == settings.registry
